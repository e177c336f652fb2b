import { lstat, opendir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { VolumeOnDisk, VolumePlugin, VolumeUsage } from './plugin.ts';

/** How full a mounted volume is, in the way that its plugin wants; undefined when that says nothing. */
export async function measureUsage(
  { usage = 'filesystem' }: Pick<VolumePlugin, 'usage'>,
  found: VolumeOnDisk,
): Promise<VolumeUsage | undefined> {
  if (typeof usage === 'function') return usage(found);
  if (usage === 'none' || found.mode === 'Block') return undefined;
  const whole = await fileSystemUsage(found.path);
  return usage === 'tree' ? { ...whole, ...(await treeUsage(found.path)) } : whole;
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

/** Adds up the blocks and inodes of a tree, each inode once, without entering other file systems. */
export async function treeUsage(path: string): Promise<{ usedBytes: number; inodesUsed: number }> {
  const root = await lstat(path);
  const seen = new Set<number>([root.ino]);
  let usedBytes = root.blocks * 512;
  const pending = [path];
  for (let directory = pending.pop(); directory !== undefined; directory = pending.pop()) {
    for await (const { name } of await opendir(directory).catch(() => [])) {
      const one = join(directory, name);
      const info = await lstat(one).catch(() => undefined);
      if (!info || info.dev !== root.dev || seen.has(info.ino)) continue;
      seen.add(info.ino);
      usedBytes += info.blocks * 512;
      if (info.isDirectory()) pending.push(one);
    }
  }
  return { usedBytes, inodesUsed: seen.size };
}
