import type { Signal } from './thresholds.ts';

/** How much of something is left. Bytes, files or processes. */
export interface Observation {
  available: number;
  capacity: number;
}

/** What was seen of the node, by signal; what cannot be seen is missing. */
export type Observations = Partial<Record<Signal, Observation>>;

/** Bytes and files. */
export interface Amounts {
  bytes: number;
  inodes: number;
}

/** What a pod uses, as far as eviction looks at it. */
export interface PodFigures {
  /** Memory that cannot be taken back easily, bytes; undefined when it is not known. */
  memoryBytes: number | undefined;
  processes: number;
  containers: { name: string; memoryBytes: number; layer: Amounts; logs: Amounts }[];
  /** `own`: a file system of its own, which takes nothing of the node's disk. */
  volumes: (Amounts & { name: string; own: boolean })[];
}

/** Which parts of a pod's local storage are on which disk. */
export interface DiskLayout {
  /** Images are on another file system than the kubelet's directory. */
  dedicatedImages: boolean;
  /** Writable layers are not where the images are. */
  split: boolean;
}

/** A part of a pod's local storage. */
export type StoragePart = 'layers' | 'logs' | 'volumes';

/** The parts that lie on the disk of a signal. */
export function partsOn(signal: Signal, { dedicatedImages, split }: DiskLayout): readonly StoragePart[] {
  if (!dedicatedImages) return ['layers', 'logs', 'volumes'];
  const isImages = signal.startsWith('imagefs.');
  if (split) return isImages ? [] : ['logs', 'volumes', 'layers'];
  return isImages || signal.startsWith('containerfs.') ? ['layers'] : ['logs', 'volumes'];
}

/** What a pod has of some parts of its local storage. */
export function storageOf({ containers, volumes }: PodFigures, parts: readonly StoragePart[]): Amounts {
  const lists: Record<StoragePart, Amounts[]> = {
    layers: containers.map(({ layer }) => layer),
    logs: containers.map(({ logs }) => logs),
    volumes: volumes.filter(({ own }) => !own),
  };
  const total = { bytes: 0, inodes: 0 };
  for (const { bytes, inodes } of parts.flatMap((part) => lists[part])) {
    total.bytes += bytes;
    total.inodes += inodes;
  }
  return total;
}
