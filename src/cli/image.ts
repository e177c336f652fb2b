import { resolve } from 'node:path';
import {
  dataDirFlag,
  describeFlags,
  type Flags,
  importArchive,
  listImages,
  parseFlags,
  pullImage,
  removeImage,
  UsageError,
} from '../node/index.ts';
import type { Command } from './command.ts';

const flags = {
  ...dataDirFlag,
  name: { type: 'string', value: 'REFERENCE', help: 'import: the name to give to the image' },
  help: { type: 'boolean', short: 'h', help: 'show this' },
} as const satisfies Flags;

const usage = `Usage: deckhand image pull REFERENCE | ls | rm REFERENCE … | import ARCHIVE [--name REFERENCE]

ARCHIVE is an OCI image layout (a directory or a tar of one) or a docker-archive (docker save).

${describeFlags(flags)}`;

const command: Command = {
  summary: 'pull, ls, rm or import images of the node',
  async run(argv) {
    const { values, positionals } = parseFlags(flags, argv, { positionals: true });
    if (values.help) {
      console.log(usage);
      return 0;
    }
    const [verb, ...names] = positionals;
    await act(verb, names, resolve(values['data-dir']), values.name);
    return 0;
  },
};
export default command;

async function act(
  verb: string | undefined,
  names: string[],
  dataDirectory: string,
  name: string | undefined,
): Promise<void> {
  const one = (what: string): string => {
    if (names.length !== 1) throw new UsageError(`image ${verb} takes one ${what}`);
    return names[0]!;
  };
  switch (verb) {
    case 'pull':
      return console.log(await pullImage(dataDirectory, one('reference')));
    case 'ls':
      return printImages(await listImages(dataDirectory));
    case 'rm':
      if (names.length === 0) throw new UsageError('image rm takes at least one reference');
      for (const reference of names) await removeImage(dataDirectory, reference);
      return;
    case 'import':
      for (const image of await importArchive(dataDirectory, one('archive'), name))
        console.log(`${image.id} ${image.names.join(' ')}`);
      return;
    default:
      throw new UsageError(
        verb === undefined ? 'image takes pull, ls, rm or import' : `there is no command image ${verb}`,
      );
  }
}

function printImages(images: Awaited<ReturnType<typeof listImages>>): void {
  const rows = images.flatMap(({ id, names, bytes }) =>
    (names.length > 0 ? names : ['<none>']).map((one) => [
      one,
      id.replace('sha256:', '').slice(0, 12),
      `${(bytes / 1e6).toFixed(1)} MB`,
    ]),
  );
  const width = Math.max(5, ...rows.map(([name]) => name!.length));
  for (const [name, id, size] of [['IMAGE', 'ID', 'SIZE'], ...rows])
    console.log(`${name!.padEnd(width)}  ${id!.padEnd(12)}  ${size}`);
}
