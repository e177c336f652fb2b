import { lstat, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** What is below a directory. */
export interface TreeUsage {
  bytes: number;
  inodes: number;
}

/** Adds up a directory without leaving its file system; what vanishes meanwhile counts nothing. */
export async function measureTree(path: string): Promise<TreeUsage> {
  const usage: TreeUsage = { bytes: 0, inodes: 0 };
  const top = await lstat(path).catch(() => undefined);
  if (!top) return usage;
  // Files with several names count once.
  const linked = new Set<number>();
  const directories = [path];
  usage.inodes = 1;
  usage.bytes = top.blocks * 512;
  for (let directory = directories.pop(); directory !== undefined; directory = directories.pop()) {
    for (const name of await readdir(directory).catch(() => [])) {
      const child = join(directory, name);
      const info = await lstat(child).catch(() => undefined);
      if (!info || info.dev !== top.dev) continue;
      if (info.nlink > 1 && !info.isDirectory()) {
        if (linked.has(info.ino)) continue;
        linked.add(info.ino);
      }
      usage.inodes++;
      usage.bytes += info.blocks * 512;
      if (info.isDirectory()) directories.push(child);
    }
  }
  return usage;
}

/** Bytes and files of a container's logs: the current one and those that were rotated. */
export async function measureLogs(directory: string): Promise<TreeUsage> {
  const usage: TreeUsage = { bytes: 0, inodes: 0 };
  for (const name of await readdir(directory).catch(() => [])) {
    const info = await stat(join(directory, name)).catch(() => undefined);
    if (!info?.isFile()) continue;
    usage.bytes += info.blocks * 512;
    usage.inodes++;
  }
  return usage;
}
