import { lstat, readdir, stat, statfs } from 'node:fs/promises';
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

/** A volume of a pod on this node. */
export interface VolumeUsage {
  /** Its name in the pod. */
  name: string;
  capacityBytes: number;
  availableBytes: number;
  usedBytes: number;
  inodes: number;
  inodesFree: number;
  inodesUsed: number;
  /** A file system of its own: it takes nothing of the node's. */
  own: boolean;
}

/** Measures the volumes below a pod's directory: their file system where they have one, else what is in them. */
export async function measureVolumes(podDirectory: string): Promise<VolumeUsage[]> {
  const base = join(podDirectory, 'volumes');
  const found: VolumeUsage[] = [];
  for (const plugin of await readdir(base).catch(() => []))
    for (const name of await readdir(join(base, plugin)).catch(() => [])) {
      const usage = await measureVolume(join(base, plugin), name).catch(() => undefined);
      if (usage) found.push(usage);
    }
  return found;
}

async function measureVolume(parent: string, name: string): Promise<VolumeUsage> {
  // A CSI driver mounts one level below.
  const path = await mountPoint(join(parent, name));
  const [above, here, file] = await Promise.all([stat(parent), stat(path), statfs(path)]);
  const own = above.dev !== here.dev;
  const tree = own ? undefined : await measureTree(path);
  return {
    name,
    capacityBytes: file.blocks * file.bsize,
    availableBytes: file.bavail * file.bsize,
    usedBytes: tree?.bytes ?? (file.blocks - file.bfree) * file.bsize,
    inodes: file.files,
    inodesFree: file.ffree,
    inodesUsed: tree?.inodes ?? file.files - file.ffree,
    own,
  };
}

async function mountPoint(path: string): Promise<string> {
  const below = join(path, 'mount');
  const found = path.includes('kubernetes.io~csi') ? await stat(below).catch(() => undefined) : undefined;
  return found?.isDirectory() ? below : path;
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
