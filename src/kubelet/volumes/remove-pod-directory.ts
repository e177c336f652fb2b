import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { mountsUnder, unmount } from '../../host/mounts/index.ts';
import { podDirectory } from './layout.ts';
import type { VolumeOnDisk } from './plugin.ts';
import { removeTree } from './remove-tree.ts';
import { VolumeError } from './volume-error.ts';

/** Unmounts everything below a path, the deepest first. @throws VolumeError when something stays mounted */
export async function unmountBelow(path: string): Promise<void> {
  const mounted = await mountsUnder(path);
  if (mounted.length === 0) return;
  for (const one of mounted) unmount(one);
  const left = await mountsUnder(path);
  if (left.length > 0) throw new VolumeError('FAILED', `cannot unmount ${left.join(', ')}`);
}

/** Takes away what a plugin left that this kubelet does not have; nothing but mounts and directories is removed. */
export async function tearDownUnknown({ path }: Pick<VolumeOnDisk, 'path'>): Promise<void> {
  await unmountBelow(path);
  await removeTree(path);
}

/** Removes parts of a pod's directory, or all of it; what is mounted there is unmounted, and never deleted through. */
export async function removePodDirectories(root: string, podUid: string, parts?: readonly string[]): Promise<void> {
  const directory = podDirectory(root, podUid);
  for (const path of parts?.map((part) => join(directory, part)) ?? [directory]) {
    // The mount table is long: it is read only for what is there.
    if ((await readdir(path).catch(() => undefined)) === undefined) continue;
    await unmountBelow(path);
    await removeTree(path);
  }
}
