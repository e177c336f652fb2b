import { chmod, chown, lchown, lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { FsGroup } from './plugin.ts';

/** Modes that fsGroup adds: the group may read and write, directories hand their group on. */
const added = { file: 0o660, directory: 0o2770 };

/**
 * Gives a volume to the pod's fsGroup: owner group, group permissions, set-group-ID on directories.
 * With OnRootMismatch nothing is done when the volume's root is right already.
 */
export async function applyFsGroup(directory: string, { gid: fsGroup, onRootMismatch }: FsGroup): Promise<void> {
  if (onRootMismatch) {
    const { gid, mode } = await lstat(directory);
    if (gid === fsGroup && (mode & added.directory) === added.directory) return;
  }
  await own(directory, fsGroup);
}

async function own(path: string, gid: number): Promise<void> {
  const info = await lstat(path);
  if (info.isSymbolicLink()) return lchown(path, info.uid, gid);
  await chown(path, info.uid, gid);
  await chmod(path, (info.mode & 0o7777) | (info.isDirectory() ? added.directory : added.file));
  if (info.isDirectory()) for (const name of await readdir(path)) await own(join(path, name), gid);
}
