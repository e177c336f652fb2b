import { statfs } from 'node:fs/promises';
import { measureTree } from '../statistics/disk-usage.ts';
import { isMounted } from './mounted.ts';
import type { VolumeOnDisk, VolumePlugin, VolumeUsage } from './plugin.ts';

/** How full a mounted volume is, in the way that its plugin wants; undefined when that says nothing. */
export async function measureUsage(
  { usage = 'filesystem' }: Pick<VolumePlugin, 'usage'>,
  found: VolumeOnDisk,
): Promise<VolumeUsage | undefined> {
  if (typeof usage === 'function') return usage(found);
  if (usage === 'none' || found.mode === 'Block') return undefined;
  const whole = await fileSystemUsage(found.path);
  // What is a file system of its own (in memory) tells that faster than its files do.
  if (usage !== 'tree' || (await isMounted(found.path))) return whole;
  const { bytes, inodes } = await measureTree(found.path);
  return { ...whole, usedBytes: bytes, inodesUsed: inodes };
}

/** What the file system of a path says about itself. */
export async function fileSystemUsage(path: string): Promise<Required<Omit<VolumeUsage, 'abnormal'>>> {
  const { bsize, blocks, bfree, bavail, files, ffree } = await statfs(path);
  return {
    capacityBytes: blocks * bsize,
    availableBytes: bavail * bsize,
    usedBytes: (blocks - bfree) * bsize,
    inodes: files,
    inodesFree: ffree,
    inodesUsed: files - ffree,
  };
}
