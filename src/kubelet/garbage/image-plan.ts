/** An image on the node, as far as its removal is concerned. Times are milliseconds since 1970. */
export interface ImageFacts {
  id: string;
  sizeBytes: number;
  /** The runtime keeps it for itself. */
  pinned: boolean;
  /** A container has it, or a pod of this node wants it. */
  used: boolean;
  /** When this kubelet saw it first. */
  firstSeenAt: number;
  /** When this kubelet saw it in use last; 0 for never. */
  lastUsedAt: number;
}

/** When images are removed. */
export interface ImagePolicy {
  /** Percent of the file system of images from which on unused images are removed; 100 for never. */
  highPercent: number;
  /** Percent down to which they are removed. */
  lowPercent: number;
  /** Images younger than this are kept, milliseconds. */
  minimumAgeMs: number;
  /** Images that were not used for longer than this are removed; 0 for no such limit. */
  maximumAgeMs: number;
}

/** What should be removed. */
export interface ImagePlan {
  /** Unused for too long: all of these. */
  old: ImageFacts[];
  /** In the order of removal, until enough bytes are free. */
  candidates: ImageFacts[];
  /** Bytes to free by removing candidates; 0 when there is enough room. */
  wantedBytes: number;
  /** How full the file system is. */
  usedPercent: number;
}

/**
 * Decides which images to remove. Pure. The least recently used go first, of equal ones those that were seen first.
 * @param disk of the file system that holds images, bytes
 * @param startedAt when this kubelet began to watch images: before the maximum age has passed since, nobody can know
 */
export function planImages(
  images: readonly ImageFacts[],
  disk: { capacityBytes: number; availableBytes: number },
  policy: ImagePolicy,
  { now, startedAt }: { now: number; startedAt: number },
): ImagePlan {
  const unused = images
    .filter(({ pinned, used }) => !pinned && !used)
    .sort((a, b) => a.lastUsedAt - b.lastUsedAt || a.firstSeenAt - b.firstSeenAt || (a.id < b.id ? -1 : 1));
  const { maximumAgeMs, minimumAgeMs, highPercent, lowPercent } = policy;
  const tooOld = ({ lastUsedAt, firstSeenAt }: ImageFacts) => now - Math.max(lastUsedAt, firstSeenAt) > maximumAgeMs;
  const old = maximumAgeMs > 0 && now - startedAt > maximumAgeMs ? unused.filter(tooOld) : [];
  const available = Math.min(disk.availableBytes, disk.capacityBytes);
  const usedPercent = 100 - Math.floor((available * 100) / disk.capacityBytes);
  const over = highPercent < 100 && usedPercent >= highPercent;
  return {
    old,
    candidates: unused.filter((image) => !old.includes(image) && now - image.firstSeenAt >= minimumAgeMs),
    wantedBytes: over ? Math.max(0, Math.floor((disk.capacityBytes * (100 - lowPercent)) / 100) - available) : 0,
    usedPercent,
  };
}
