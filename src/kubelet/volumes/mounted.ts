import { lstat } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Whether another file system is mounted on the directory. Cheaper than reading the mount table, but blind to bind
 * mounts of the file system that is there anyway.
 */
export async function isMounted(path: string): Promise<boolean> {
  const [own, parent] = await Promise.all([lstat(path), lstat(dirname(path))]);
  return own.dev !== parent.dev;
}
