import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
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
  return once(name, () => unpack(name, name, []));
}

/**
 * The same from another suite of Debian than this machine's, for programs that do not mind its libraries. It comes from
 * where this machine's packages do; the machine's own package lists stay as they are.
 * @throws Error with what apt said
 */
export function packageOfSuite(suite: string, name: string): Promise<string> {
  return once(`${suite}-${name}`, async () => {
    const options = await suiteOptions(suite);
    return unpack(`${suite}-${name}`, name, options);
  });
}

function once(key: string, work: () => Promise<string>): Promise<string> {
  const known = inFlight.get(key) ?? work();
  inFlight.set(key, known);
  return known;
}

/** Options that make apt look at another suite only, with lists of its own. */
async function suiteOptions(suite: string): Promise<string[]> {
  const { stdout } = await run(['apt-get', 'indextargets', '--format', '$(REPO_URI)']);
  const uri = stdout.split('\n').find((one) => /\/debian\/?$/.test(one));
  if (!uri) throw new Error('no source of packages of this machine ends in /debian');
  const directory = join(cache, `.apt-${suite}`);
  const keys = '/usr/share/keyrings/debian-archive-keyring.gpg';
  await mkdir(join(directory, 'lists/partial'), { recursive: true });
  await writeFile(join(directory, 'sources.list'), `deb [signed-by=${keys}] ${uri} ${suite} main\n`);
  return [
    `Dir::Etc::SourceList=${join(directory, 'sources.list')}`,
    'Dir::Etc::SourceParts=-',
    `Dir::State::Lists=${join(directory, 'lists')}`,
    `Dir::Cache::pkgcache=`,
    `Dir::Cache::srcpkgcache=`,
  ].flatMap((option) => ['-o', option]);
}

async function unpack(key: string, name: string, options: readonly string[]): Promise<string> {
  const target = join(cache, key);
  if (await exists(target)) return target;
  await mkdir(cache, { recursive: true });
  const work = await mkdtemp(join(cache, `.${key}-`));
  try {
    const download = () =>
      run(['apt-get', 'download', '-qq', '-o', 'APT::Sandbox::User=root', ...options, name], {
        cwd: work,
        timeoutMs: 120_000,
      });
    let result = await download();
    if (result.status !== 0) {
      // Package lists may be missing or old on a fresh machine.
      await run(['apt-get', 'update', '-qq', ...options], { timeoutMs: 180_000 });
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
