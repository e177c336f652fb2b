import { resolve } from 'node:path';
import {
  dataDirFlag,
  describeFlags,
  type Flags,
  type FlagValues,
  type ListedImage,
  loadImageBuild,
  loadImages,
  loadProxyImage,
  parseFlags,
  type RuntimeChoice,
  UsageError,
} from '../node/index.ts';
import type { Command } from './command.ts';

const flags = {
  ...dataDirFlag,
  root: { type: 'string', value: 'DIR', help: "a 'deckhand runtime' that runs alone: its --root", notEmpty: true },
  listen: {
    type: 'string',
    value: 'unix://SOCKET',
    default: 'unix:///run/deckhand/runtime.sock',
    help: 'with --root: its --listen',
  },
  creds: { type: 'string', value: 'USER:PASSWORD', help: 'pull: credentials for the registry', notEmpty: true },
  name: { type: 'string', value: 'REFERENCE', help: 'import: the name to give to the image', notEmpty: true },
  output: {
    type: 'string',
    short: 'o',
    value: 'FILE',
    help: 'export, build: the tar file to write (build: or an empty directory, for a layout)',
    notEmpty: true,
  },
  tag: {
    type: 'string',
    value: 'NAME[:TAG]',
    help: 'build: the name of the image (default deckhand.local/kube-proxy:vVERSION)',
    notEmpty: true,
  },
  format: {
    type: 'string',
    value: 'FORMAT',
    default: 'oci',
    help: 'export: oci (a layout that docker load reads too) or docker (as docker save)',
  },
  all: { type: 'boolean', short: 'a', help: 'prune: also images with a tag' },
  'if-changed': {
    type: 'boolean',
    help: 'build: only when the node has no image of the same content; its tag then tells the content',
  },
  deep: { type: 'boolean', help: 'check: read every file and compare digests' },
  json: { type: 'boolean', help: 'ls, prune, check, registries, build: print JSON' },
  help: { type: 'boolean', short: 'h', help: 'show this' },
} as const satisfies Flags;

const usage = `Usage: deckhand image COMMAND …

  pull REFERENCE               fetch an image, by the runtime's rules for its registry
  ls                           list images
  inspect REFERENCE            print all that is known of an image, as JSON
  rm REFERENCE …               remove images with all their names
  prune                        remove images without a tag that nothing uses (--all: all that nothing uses);
                               pinned images stay
  import ARCHIVE               read images from an OCI image layout (a directory or a tar of one) or a docker-archive
  export REFERENCE … -o FILE   write images to a tar; their ids stay, manifests are made anew (layers go out unpacked)
  build proxy                  make an image of a component out of this installation, for a DaemonSet in any cluster:
                               a tar (-o FILE) for registries and other runtimes, else right into the node's runtime
  check                        look for anything on disk that no image or container owns, is missing or was changed
  registries REFERENCE         show which servers are asked for an image, in order, by which rule, and ask them

A REFERENCE is a name, a name with a digest, an image id or the beginning of one.

${describeFlags(flags)}`;

const command: Command = {
  summary: 'pull, list, inspect, remove, import, export, build and check images of the node',
  async run(argv) {
    const { values, positionals } = parseFlags(flags, argv, { positionals: true });
    if (values.help) {
      console.log(usage);
      return 0;
    }
    const [verb, ...names] = positionals;
    const action = verbs[verb as keyof typeof verbs];
    if (!action)
      throw new UsageError(
        `${verb === undefined ? 'image needs a command' : `there is no command image ${verb}`}: ${Object.keys(verbs).join(', ')}`,
      );
    const runtime: RuntimeChoice = {
      dataDirectory: resolve(values['data-dir']),
      ...(values.root ? { alone: { root: values.root, listen: values.listen } } : {}),
    };
    return (await action({ verb: verb!, names, values, runtime, images: await loadImages() })) ?? 0;
  },
};
export default command;

interface Call {
  verb: string;
  names: readonly string[];
  values: FlagValues<typeof flags>;
  runtime: RuntimeChoice;
  images: Awaited<ReturnType<typeof loadImages>>;
}

/** The only argument. @throws UsageError for none or several */
function one({ verb, names }: Call, what: string): string {
  if (names.length !== 1) throw new UsageError(`image ${verb} takes one ${what}`);
  return names[0]!;
}

function none({ verb, names }: Call): void {
  if (names.length > 0) throw new UsageError(`image ${verb} takes no argument`);
}

function some({ verb, names }: Call): readonly string[] {
  if (names.length === 0) throw new UsageError(`image ${verb} takes at least one reference`);
  return names;
}

/** Each command of images; gives the exit status if that is not 0. */
const verbs = {
  pull: async (call: Call) => {
    const [, username, password] = /^([^:]+):(.*)$/s.exec(call.values.creds ?? '') ?? [];
    if (call.values.creds && username === undefined) throw new UsageError('--creds must be USER:PASSWORD');
    const auth = username === undefined ? undefined : { username, password: password! };
    console.log(await call.images.pullImage(call.runtime, one(call, 'reference'), auth));
  },
  ls: async (call: Call) => {
    none(call);
    const images = await call.images.listImages(call.runtime);
    if (call.values.json) printJson(images);
    else printImages(images);
  },
  inspect: async (call: Call) => printJson(await call.images.inspectImage(call.runtime, one(call, 'reference'))),
  rm: async (call: Call) => {
    for (const reference of some(call)) await call.images.removeImage(call.runtime, reference);
  },
  prune: async (call: Call) => {
    none(call);
    const pruned = await call.images.pruneImages(call.runtime, call.values.all);
    if (call.values.json) return printJson(pruned);
    for (const name of pruned.images) console.log(`removed ${name}`);
    console.log(`freed ${size(pruned.bytes)}`);
  },
  import: async (call: Call) => {
    for (const image of await call.images.importArchive(call.runtime, one(call, 'archive'), call.values.name))
      console.log(`${image.id} ${image.names.join(' ')}`.trim());
  },
  export: async (call: Call) => {
    const { output: path, format } = call.values;
    const references = some(call);
    if (!path) throw new UsageError('image export needs -o FILE');
    if (format !== 'oci' && format !== 'docker') throw new UsageError(`--format ${format} is not oci or docker`);
    await call.images.exportArchive(call.runtime, references, { path, format });
  },
  build: async (call: Call) => {
    const component = one(call, 'component, as in: deckhand image build proxy');
    const { output, tag, json, 'if-changed': ifChanged } = call.values;
    const build = await loadImageBuild();
    if (ifChanged) return buildIfChanged(call, component, build);
    const name = tag ? build.completeName(tag) : await build.defaultImageName();
    const built = output
      ? await build.buildArchive(component, name, resolve(output))
      : await build.buildIntoRuntime(call.runtime, component, name);
    for (const note of built.notes) console.error(`deckhand: ${note}`);
    if (json) return printJson(built);
    const bytes = built.layers.reduce((sum, layer) => sum + (output ? layer.size : layer.unpackedBytes), 0);
    console.log(
      `${built.name}\n  id ${built.id}, ${size(bytes)}${output ? ` in ${output}` : " in the node's runtime"}`,
    );
  },
  check: async (call: Call) => {
    none(call);
    const findings = await call.images.checkImages(call.runtime, call.values.deep);
    if (call.values.json) printJson(findings);
    else if (findings.length === 0) console.log('everything belongs there and is whole');
    else for (const { subject, problem } of findings) console.log(`${subject}: ${problem}`);
    return findings.length > 0 ? 1 : 0;
  },
  registries: async (call: Call) => {
    const reports = await call.images.explainRegistries(call.runtime, one(call, 'reference'));
    if (call.values.json) printJson(reports);
    else
      for (const { image, server, repository, rule, credentials, answer } of reports)
        console.log(
          `${image}\n  from ${server} as ${repository}\n  rule ${rule}, credentials ${credentials}\n  ${answer}`,
        );
    return reports.some(({ answer }) => answer === 'found') ? 0 : 1;
  },
};

async function buildIfChanged(
  { values: { output, tag, json, root }, runtime }: Call,
  component: string,
  build: Awaited<ReturnType<typeof loadImageBuild>>,
): Promise<void> {
  if (output || tag || root)
    throw new UsageError('--if-changed is for the runtime of an instance: without -o, --tag and --root');
  build.checkBuildable(component);
  const { ensureProxyImage } = await loadProxyImage();
  const image = await ensureProxyImage(runtime.dataDirectory);
  if (json) return printJson(image);
  console.log(`${image.name}\n  id ${image.id}, ${image.isNew ? 'made' : 'was there already'}`);
}

function printJson(value: unknown): void {
  console.log(JSON.stringify(value, null, 2));
}

function size(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function printImages(images: readonly ListedImage[]): void {
  const rows = images.flatMap(({ id, names, digests, bytes, pinned }) =>
    (names.length > 0 ? names : digests.length > 0 ? digests : ['<none>']).map((name) => [
      name,
      id.replace('sha256:', '').slice(0, 12),
      `${size(bytes)}${pinned ? '  pinned' : ''}`,
    ]),
  );
  const width = Math.max(5, ...rows.map(([name]) => name!.length));
  for (const [name, id, bytes] of [['IMAGE', 'ID', 'SIZE'], ...rows])
    console.log(`${name!.padEnd(width)}  ${id!.padEnd(12)}  ${bytes}`);
}
