import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { readElf } from './elf.ts';
import { ImageBuildError } from './image-build-error.ts';
import type { TarEntry } from './tar.ts';

/** Where programs are looked for. */
const programDirectories = ['/usr/sbin', '/sbin', '/usr/bin', '/bin', '/usr/local/sbin', '/usr/local/bin'];

/** Where a loader looks without being told, beside the directories of /etc/ld.so.conf. */
const standardDirectories = ['/lib64', '/usr/lib64', '/lib', '/usr/lib'];

/** Directories of a multi-architecture distribution: `/usr/lib/x86_64-linux-gnu`. */
const multiarch = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' } as Record<string, string>;

/** What is put together for an image: files of this machine by their place in the image. */
export type FileSet = Map<string, TarEntry>;

/** The real file of a program of this machine; undefined when it has none of these names. */
export function findProgram(names: readonly string[]): string | undefined {
  for (const name of names)
    for (const directory of programDirectories) {
      const path = join(directory, name);
      if (existsSync(path)) return realpathSync(path);
    }
  return undefined;
}

/** Directories in which this machine's loader finds libraries. */
export function libraryDirectories(): string[] {
  const triplet = multiarch[process.arch];
  const own = triplet ? [`/lib/${triplet}`, `/usr/lib/${triplet}`] : [];
  return [...new Set([...own, ...configuredDirectories(), ...standardDirectories])].filter((path) => existsSync(path));
}

function configuredDirectories(): string[] {
  const folder = '/etc/ld.so.conf.d';
  const files = [
    '/etc/ld.so.conf',
    ...(existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : []),
  ];
  return files
    .filter((file) => existsSync(file))
    .flatMap((file) => readFileSync(file, 'utf8').split('\n'))
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line.startsWith('/'));
}

/** A path as an image with one /usr has it: `/lib/x` is `usr/lib/x`. */
export function imagePath(path: string): string {
  return path.replace(/^\//, '').replace(/^(?:lib64|lib|bin|sbin)\//, (directory) => `usr/${directory}`);
}

/** Adds a file of this machine; a program only as far as it is loaded, without symbols for debuggers. */
export async function addProgram(files: FileSet, path: string, source: string, mode = 0o755): Promise<void> {
  const { loadedBytes, patches } = await readElf(source);
  const size = statSync(source).size;
  const cut = loadedBytes < size;
  files.set(path, {
    path,
    mode,
    kind: 'file',
    source,
    size: Math.min(size, loadedBytes),
    ...(cut ? { patches } : {}),
  });
}

/**
 * Adds the libraries that programs need, with theirs, in the directory where the loader looks first, and the loader at
 * the very path that programs name. @throws ImageBuildError LIBRARY_MISSING
 */
export async function addLibraries(
  files: FileSet,
  sources: readonly string[],
  optional: readonly string[] = [],
): Promise<void> {
  const directories = libraryDirectories();
  const target = imagePath(directories[0] ?? '/usr/lib');
  const open: { name: string; by: string; places: string[] }[] = [];
  const done = new Set<string>();
  const follow = async (source: string): Promise<void> => {
    const { needed, interpreter, runPath } = await readElf(source);
    if (interpreter && !files.has(imagePath(interpreter)))
      await addProgram(files, imagePath(interpreter), realpathSync(interpreter));
    const own = runPath.map((path) => path.replaceAll(/\$\{?ORIGIN\}?/g, dirname(source)));
    for (const name of needed) open.push({ name, by: source, places: [...own, ...directories] });
  };
  for (const name of optional)
    if (directories.some((directory) => existsSync(join(directory, name))))
      open.push({ name, by: 'the C library', places: directories });
  for (const source of sources) await follow(source);
  for (let next = open.pop(); next; next = open.pop()) {
    const { name, by, places } = next;
    if (done.has(name) || [...files.keys()].some((path) => basename(path) === name)) continue;
    done.add(name);
    const found = places.map((directory) => join(directory, name)).find((path) => existsSync(path));
    if (!found)
      throw new ImageBuildError('LIBRARY_MISSING', name, `${by} needs this library, and it is nowhere on this machine`);
    const source = realpathSync(found);
    await addProgram(files, `${target}/${name}`, source, 0o644);
    await follow(source);
  }
}
