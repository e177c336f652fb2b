import { close, constants, fstat, mkdir as makeDirectory, open } from 'node:fs';
import { chmod, lstat, mkdir, realpath, rmdir, stat, unlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { bindMount, mountsUnder, unmount } from '../../host/mounts/index.ts';
import { VolumeError } from './volume-error.ts';

const openFile = promisify(open);
const closeFile = promisify(close);
const statFile = promisify(fstat);
const makeIn = promisify(makeDirectory);

/** O_PATH: a handle on a place, not on its content. Node does not name it. */
const oPath = 0o10000000;

/**
 * Binds a path inside a volume to `target` and gives that.
 *
 * A container may swap directories for links at any moment, so names are not trusted: links are resolved once and must
 * stay in the volume, then each part is opened without following links from the handle of the part before, and what is
 * bound is the handle.
 */
export async function bindSubPath(volumePath: string, subPath: string, target: string): Promise<string> {
  const base = await realpath(volumePath);
  const parts = await resolveInside(base, subPath);
  const handle = await openBelow(base, parts, subPath);
  try {
    const wanted = await statFile(handle);
    if ((await mountsUnder(target)).includes(target)) {
      const { dev, ino } = await stat(target);
      if (dev === wanted.dev && ino === wanted.ino) return target;
      // The volume has new content since the container was last started.
      unmount(target);
    }
    const isDirectory = wanted.isDirectory();
    await removeOther(target, isDirectory);
    await mkdir(isDirectory ? target : dirname(target), { recursive: true, mode: 0o750 });
    if (!isDirectory) await writeFile(target, '', { flag: 'a' });
    bindMount(`/proc/self/fd/${handle}`, target);
    return target;
  } finally {
    await closeFile(handle);
  }
}

/** A directory cannot be shown at a file, nor a file at a directory: what was there for earlier content goes. */
async function removeOther(target: string, isDirectory: boolean): Promise<void> {
  const present = await lstat(target).catch(() => undefined);
  if (present && present.isDirectory() !== isDirectory) await (isDirectory ? unlink(target) : rmdir(target));
}

/** The parts of the resolved path below the base; parts that do not exist yet come as they are. */
async function resolveInside(base: string, subPath: string): Promise<string[]> {
  const parts = subPath.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..') || subPath.startsWith('/'))
    throw new VolumeError('INVALID', `subPath ${JSON.stringify(subPath)} must be a relative path without ".."`);
  for (let known = parts.length; known >= 0; known--) {
    const resolved = await realpath(join(base, ...parts.slice(0, known))).catch(() => undefined);
    if (resolved === undefined) continue;
    const inside = relative(base, resolved);
    if (inside === '..' || inside.startsWith('../'))
      throw new VolumeError('INVALID', `subpath ${JSON.stringify(subPath)} not within volume path ${base}`);
    return [...inside.split('/').filter(Boolean), ...parts.slice(known)];
  }
  return parts;
}

async function openBelow(base: string, parts: string[], subPath: string): Promise<number> {
  let handle = await openFile(base, oPath | constants.O_DIRECTORY);
  const mode = (await statFile(handle)).mode & 0o7777;
  for (const [index, part] of parts.entries()) {
    const next = await openPart(handle, part, { directory: index < parts.length - 1, mode }).catch(
      async (cause: unknown) => {
        await closeFile(handle);
        throw new VolumeError('FAILED', `cannot open subpath ${JSON.stringify(subPath)} at ${JSON.stringify(part)}`, {
          cause,
        });
      },
    );
    await closeFile(handle);
    handle = next;
  }
  return handle;
}

/** @param options.mode of a directory that is made: that of the volume, so that whoever may write there may write here */
async function openPart(
  parent: number,
  part: string,
  { directory, mode }: { directory: boolean; mode: number },
): Promise<number> {
  const path = `/proc/self/fd/${parent}/${part}`;
  const flags = oPath | constants.O_NOFOLLOW | (directory ? constants.O_DIRECTORY : 0);
  let handle: number;
  try {
    handle = await openFile(path, flags);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    await makeIn(path, 0o700);
    handle = await openFile(path, flags | constants.O_DIRECTORY);
    await chmod(`/proc/self/fd/${handle}`, mode);
  }
  if ((await statFile(handle)).isSymbolicLink()) {
    await closeFile(handle);
    throw new Error('it became a symbolic link');
  }
  return handle;
}
