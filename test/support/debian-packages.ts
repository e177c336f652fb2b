import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ArchiveEntry } from '../../src/runtime/images/testing/write-tar.ts';
import { output, run } from './processes.ts';

/** Kept between runs: what apt fetched, unpacked. Not in the repository. */
const cache = join(import.meta.dirname, '../../node_modules/.cache/deckhand-tests');

const inFlight = new Map<string, Promise<string>>();

/**
 * The directory with the files of a Debian package that is not installed, and need not be: apt fetches it once, dpkg-deb
 * unpacks it. @throws Error with what apt said
 */
export function unpackedPackage(name: string): Promise<string> {
  const known = inFlight.get(name) ?? unpack(name);
  inFlight.set(name, known);
  return known;
}

async function unpack(name: string): Promise<string> {
  const target = join(cache, name);
  if (await exists(target)) return target;
  await mkdir(cache, { recursive: true });
  const work = await mkdtemp(join(cache, `.${name}-`));
  try {
    const download = () =>
      run(['apt-get', 'download', '-qq', '-o', 'APT::Sandbox::User=root', name], { cwd: work, timeoutMs: 120_000 });
    let result = await download();
    if (result.status !== 0) {
      // Package lists may be missing or old on a fresh machine.
      await run(['apt-get', 'update', '-qq'], { timeoutMs: 180_000 });
      result = await download();
    }
    if (result.status !== 0) throw new Error(`apt-get could not fetch the package ${name}:\n${result.stderr}`);
    const archive = (await readdir(work)).find((file) => file.endsWith('.deb'))!;
    await output(['dpkg-deb', '--extract', join(work, archive), join(work, 'files')]);
    // Whoever is first wins; what the others unpacked is the same.
    await rename(join(work, 'files'), target).catch(async (error: unknown) => {
      if (!(await exists(target))) throw error;
    });
    return target;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** The path of a program of a package that is not installed, in whichever directory the package has it. */
export async function unpackedProgram(name: string, program: string): Promise<string> {
  const root = await unpackedPackage(name);
  for (const directory of ['bin', 'sbin', 'usr/bin', 'usr/sbin'])
    if (await exists(join(root, directory, program))) return join(root, directory, program);
  throw new Error(`the package ${name} has no program ${program}`);
}

/** A dynamic program for an image, under `path`, with the loader and every library that it needs, from this machine. */
export async function programEntries(
  program: string,
  path: string,
  entry: Partial<ArchiveEntry> = {},
): Promise<ArchiveEntry[]> {
  const libraries = await librariesOf(program);
  return [
    { path, mode: 0o755, content: await readFile(program), ...entry },
    ...(await Promise.all(
      libraries.map(async (library) => ({ path: library.slice(1), mode: 0o755, content: await readFile(library) })),
    )),
  ];
}

/** The libraries of a dynamic program, the loader among them, as ldd finds them. @throws Error naming a missing one */
async function librariesOf(program: string): Promise<string[]> {
  const lines = (await output(['ldd', program])).split('\n');
  const absent = lines.find((line) => line.includes('not found'));
  if (absent) throw new Error(`${program} needs a library that this machine lacks: ${absent.trim()}`);
  return lines.flatMap((line) => /(\/\S+) \(0x/.exec(line)?.[1] ?? []);
}

/** Entries with each path once, and the directories above each, which tar readers may want to see first. */
export function withDirectories(entries: readonly ArchiveEntry[]): ArchiveEntry[] {
  const known = new Map<string, ArchiveEntry>();
  for (const entry of entries) {
    const parts = entry.path.replace(/\/$/, '').split('/').slice(0, -1);
    for (let length = 1; length <= parts.length; length++) {
      const directory = `${parts.slice(0, length).join('/')}/`;
      if (!known.has(directory)) known.set(directory, { path: directory });
    }
    if (!known.has(entry.path)) known.set(entry.path, entry);
  }
  return [...known.values()];
}
