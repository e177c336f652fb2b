import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { Pod } from '../../api/index.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import { readText } from '../resources/index.ts';
import { type DiskUsage, measureTree, type PodUsage, readFileSystem, type Statistics } from '../statistics/index.ts';
import type { Amounts, DiskLayout, Observations, PodFigures } from './observations.ts';

/** The parts of a node that eviction looks at. */
export interface NodeGround {
  rootDirectory: string;
  /** Directories of the runtime's stores, where they can be seen. */
  stores: { imagefs?: string; containerfs?: string };
  /** The cgroup of all pods and how to look at it. */
  statistics: Pick<Statistics, 'parents' | 'usage'>;
}

/** Looks at the node: files of the kernel only, so that it costs next to nothing. */
export function observeNode({ rootDirectory, stores, statistics }: NodeGround): Observations {
  const observations: Observations = {
    ...observeMemory(),
    ...observeProcesses(),
    ...observeDisk('nodefs', rootDirectory),
  };
  for (const name of ['imagefs', 'containerfs'] as const) Object.assign(observations, observeDisk(name, stores[name]));
  const [pods] = statistics.parents();
  const usage = pods === undefined ? undefined : statistics.usage(pods);
  if (usage?.memoryLimitBytes !== undefined) {
    const capacity = Number(usage.memoryLimitBytes);
    const available = Math.max(0, capacity - Number(usage.workingSetBytes));
    observations['allocatableMemory.available'] = { available, capacity };
  }
  return observations;
}

function observeMemory(): Observations {
  const text = readText('/proc/meminfo');
  const kilobytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0) * 1024;
  const capacity = kilobytes('MemTotal');
  return capacity > 0 ? { 'memory.available': { available: kilobytes('MemAvailable'), capacity } } : {};
}

function observeProcesses(): Observations {
  const count = Number(/\d+\/(\d+)/.exec(readText('/proc/loadavg'))?.[1] ?? 0);
  const limits = ['pid_max', 'threads-max'].map((name) => Number(readText(`/proc/sys/kernel/${name}`) || Number.NaN));
  const capacity = Math.min(...limits.filter((limit) => limit > 0));
  return Number.isFinite(capacity) ? { 'pid.available': { available: capacity - count, capacity } } : {};
}

function observeDisk(name: 'nodefs' | 'imagefs' | 'containerfs', path: string | undefined): Observations {
  if (path === undefined) return {};
  try {
    const { availableBytes, capacityBytes, inodes, inodesFree } = readFileSystem(path);
    return {
      [`${name}.available`]: { available: availableBytes, capacity: capacityBytes },
      // Some file systems number no files.
      ...(inodes > 0 ? { [`${name}.inodesFree`]: { available: inodesFree, capacity: inodes } } : {}),
    };
  } catch {
    return {};
  }
}

/** Looks at every pod that runs, by uid. */
export async function readFigures(statistics: Statistics): Promise<Map<string, PodFigures>> {
  const pods = await statistics.pods();
  const disks = await statistics.disks(pods);
  return new Map(pods.map((pod) => [pod.uid, toFigures(pod, disks)]));
}

/**
 * The same with what is in the emptyDirs of these pods now: the figures of volumes are from the background and may be a
 * minute old, and the one that fills the disk is hardly ever one that has been there for long.
 */
export async function readFiguresNow(
  statistics: Statistics,
  rootDirectory: string,
  pods: readonly Pod[],
): Promise<Map<string, PodFigures>> {
  const figures = await readFigures(statistics);
  for (const { metadata, spec } of pods) {
    const own = figures.get(metadata.uid);
    if (!own) continue;
    for (const { name, emptyDir } of spec.volumes ?? []) {
      if (!emptyDir || emptyDir.medium) continue;
      const path = join(rootDirectory, 'pods', metadata.uid, 'volumes', 'kubernetes.io~empty-dir', name);
      const fresh = { name, own: false, ...(await measureTree(path)) };
      own.volumes = [...own.volumes.filter((one) => one.name !== name), fresh];
    }
  }
  return figures;
}

const nothing: Amounts = { bytes: 0, inodes: 0 };

function toFigures({ uid, usage, containers }: PodUsage, { layers, logs, volumes }: DiskUsage): PodFigures {
  return {
    memoryBytes: usage && Number(usage.workingSetBytes),
    processes: Number(usage?.processes ?? 0),
    containers: containers.map(({ id, name, usage: own }) => ({
      name,
      memoryBytes: Number(own.workingSetBytes),
      layer: layers.get(id) ?? nothing,
      logs: logs.get(id) ?? nothing,
    })),
    volumes: (volumes.get(uid) ?? []).map(({ volume, onNodeDisk, usage: { usedBytes = 0, inodesUsed = 0 } }) => ({
      ...{ name: volume, own: !onNodeDisk, bytes: usedBytes, inodes: inodesUsed },
    })),
  };
}

/** Finds out which file systems the runtime's stores are on. Where that cannot be seen they count as the kubelet's. */
export async function readLayout(
  client: RuntimeClient,
  rootDirectory: string,
): Promise<{ layout: DiskLayout; stores: NodeGround['stores'] }> {
  const { imageFilesystems, containerFilesystems } = await client.images.imageFsInfo({}, { timeoutMs: 10_000 });
  const imagefs = imageFilesystems[0]?.fsId?.mountpoint || undefined;
  const containerfs = containerFilesystems[0]?.fsId?.mountpoint || imagefs;
  const [images, layers, own] = [device(imagefs), device(containerfs), device(rootDirectory)];
  const dedicatedImages = images !== undefined && images !== own;
  return {
    layout: { dedicatedImages, split: dedicatedImages && layers !== undefined && layers !== images },
    stores: { ...(imagefs ? { imagefs } : {}), ...(containerfs ? { containerfs } : {}) },
  };
}

function device(path: string | undefined): number | undefined {
  try {
    return path ? statSync(path).dev : undefined;
  } catch {
    // A directory that only the runtime sees.
    return undefined;
  }
}
