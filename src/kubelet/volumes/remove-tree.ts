import { lstat, readdir, rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { VolumeError } from './volume-error.ts';

/**
 * Removes a directory with all that is in it, but never enters another file system: whatever may still be mounted below
 * it keeps its data. Nothing there is no error.
 * @throws VolumeError naming the mount that is in the way
 */
export async function removeTree(path: string): Promise<void> {
  const info = await lstat(path).catch(absent);
  if (!info) return;
  if (!info.isDirectory()) return void (await unlink(path).catch(absent));
  await removeInside(path, info.dev);
}

async function removeInside(directory: string, device: number): Promise<void> {
  for (const entry of (await readdir(directory, { withFileTypes: true }).catch(absent)) ?? []) {
    const path = join(directory, entry.name);
    if (!entry.isDirectory()) {
      await unlink(path).catch(absent);
      continue;
    }
    const info = await lstat(path).catch(absent);
    if (!info) continue;
    if (info.dev !== device) throw new VolumeError('FAILED', `${path} is a mount of something else: it is not removed`);
    await removeInside(path, device);
  }
  await rmdir(directory).catch(absent);
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
  return undefined;
}
