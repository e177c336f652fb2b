import { statfs } from 'node:fs/promises';
import type { Image } from '../../api/cri/index.ts';
import type { Clock, Timer } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import { describeError } from '../errors.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import { type ImageFacts, type ImagePolicy, planImages } from './image-plan.ts';

/** What a collector of images needs. */
export interface ImageCollectorOptions {
  client: RuntimeClient;
  policy: ImagePolicy;
  /** Every name and id by which a container has an image, or by which a pod of this node wants one. */
  inUse(): Iterable<string>;
  /** Told the ids of all images that are left after some were removed, and when that began. */
  onCollected?(present: ReadonlySet<string>, beganAt: number): Promise<void>;
  /** Told of each image that was removed. */
  onRemoved?(reason: 'age' | 'space'): void;
  /** Says on the Node object what went wrong. */
  nodeEvent(reason: 'ImageGCFailed' | 'FreeDiskSpaceFailed' | 'InvalidDiskCapacity', message: string): void;
  /** Size of and room on the file system of a directory, bytes. Default: asks the kernel. */
  disk?(path: string): Promise<{ capacityBytes: number; availableBytes: number }>;
  clock: Clock;
  log: Logger;
}

/** How often images are looked at, milliseconds. */
const periodMs = 300_000;

/** How soon after the start, milliseconds. */
const firstMs = 10_000;

/** How soon after a pull. */
const soonMs = 1000;

/** Removes images that nobody uses when room gets short, or when they are old. One look at a time. */
export class ImageCollector {
  readonly #options: ImageCollectorOptions;
  readonly #seen = new Map<string, { firstSeenAt: number; lastUsedAt: number }>();
  readonly #startedAt: number;
  #turn: Promise<unknown> = Promise.resolve();
  #timer: Timer | undefined;
  #soon: Timer | undefined;
  #sandboxImage: string | undefined;
  #failed = false;
  #stopped = false;

  constructor(options: ImageCollectorOptions) {
    this.#options = options;
    this.#startedAt = options.clock.now();
  }

  /** Looks now and then, until stopped. */
  start(): void {
    const { policy, clock } = this.#options;
    // An age that is shorter than the period is looked for as often.
    const everyMs = policy.maximumAgeMs > 0 ? Math.max(1000, Math.min(periodMs, policy.maximumAgeMs)) : periodMs;
    const again = async (): Promise<void> => {
      await this.#collectTold();
      if (!this.#stopped) this.#timer = clock.after(everyMs, () => void again());
    };
    // Not in the midst of the start, when pods come.
    this.#timer = clock.after(Math.min(everyMs, firstMs), () => void again());
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#soon?.cancel();
  }

  /** An image has come: looks whether there is still room, once for many that come together. */
  imagePulled(): void {
    if (this.#stopped || this.#timer === undefined) return;
    this.#soon ??= this.#options.clock.after(soonMs, () => {
      this.#soon = undefined;
      if (!this.#stopped) void this.#collectTold();
    });
  }

  /** Removes every image that nobody uses and that is not younger than the minimum age: eviction asks for it. */
  deleteUnused(): Promise<void> {
    return this.#oneAtATime(async () => {
      const beganAt = this.#options.clock.now();
      const images = await this.#look();
      const disk = { capacityBytes: 1, availableBytes: 1 };
      const { candidates } = planImages(images, disk, this.#options.policy, { now: beganAt, startedAt: beganAt });
      const { failures } = await this.#remove(candidates, Number.POSITIVE_INFINITY, 'space');
      await this.#tellCollected(images, beganAt);
      if (failures.length > 0) throw new Error(`cannot remove all unused images: ${failures.join('; ')}`);
    });
  }

  /** Removes what is too old, and what is needed to get below the threshold. @throws Error when that is not enough */
  collect(): Promise<void> {
    return this.#oneAtATime(() => this.#collect());
  }

  async #collectTold(): Promise<void> {
    const { nodeEvent, log } = this.#options;
    try {
      await this.collect();
      this.#failed = false;
    } catch (error) {
      if (this.#stopped) return;
      log.warn('garbage collection of images failed', { error });
      // The first time may be a runtime that is not ready yet.
      if (this.#failed) nodeEvent('ImageGCFailed', describeError(error));
      this.#failed = true;
    }
  }

  async #collect(): Promise<void> {
    const { policy, clock, log, nodeEvent } = this.#options;
    if (policy.highPercent >= 100 && policy.maximumAgeMs === 0) return;
    const beganAt = clock.now();
    const images = await this.#look();
    const disk = await this.#disk();
    if (disk.capacityBytes === 0) {
      const message = 'invalid capacity 0 on image filesystem';
      nodeEvent('InvalidDiskCapacity', message);
      throw new Error(message);
    }
    const plan = planImages(images, disk, policy, { now: beganAt, startedAt: this.#startedAt });
    const old = await this.#remove(plan.old, Number.POSITIVE_INFINITY, 'age');
    const wanted = plan.wantedBytes - old.freedBytes;
    let freedBytes = 0;
    const failures = old.failures;
    if (plan.wantedBytes > 0 && wanted > 0) {
      const { usedPercent, wantedBytes } = plan;
      log.info('file system of images is over its threshold', { usedPercent, wantedBytes });
      const result = await this.#remove(plan.candidates, wanted, 'space');
      freedBytes = result.freedBytes;
      failures.push(...result.failures);
    }
    if (old.freedBytes + freedBytes > 0) await this.#tellCollected(images, beganAt);
    if (failures.length > 0) throw new Error(`cannot remove images: ${failures.join('; ')}`);
    if (plan.wantedBytes > 0 && freedBytes < wanted) {
      const message =
        `Insufficient free disk space on the node's image filesystem (${plan.usedPercent}% of ${formatSize(disk.capacityBytes)} used). ` +
        `Failed to free sufficient space by deleting unused images (freed ${freedBytes + old.freedBytes} bytes). ` +
        'Look for what else uses the disk: images in use, logs, volumes or other data.';
      nodeEvent('FreeDiskSpaceFailed', message);
      throw new Error(message);
    }
  }

  /** Lists images and notes which are in use. */
  async #look(): Promise<ImageFacts[]> {
    const { client, clock, inUse } = this.#options;
    const { images } = await client.images.listImages({}, { timeoutMs: 120_000 });
    const used = new Set([...inUse(), ...(await this.#sandboxImages())]);
    const now = clock.now();
    const ids = new Set(images.map(({ id }) => id));
    for (const id of this.#seen.keys()) if (!ids.has(id)) this.#seen.delete(id);
    return images.map((image) => {
      const known = this.#seen.get(image.id) ?? { firstSeenAt: now, lastUsedAt: 0 };
      this.#seen.set(image.id, known);
      const isUsed = namesOf(image).some((name) => used.has(name));
      if (isUsed) known.lastUsedAt = now;
      return { id: image.id, sizeBytes: Number(image.size), pinned: image.pinned, used: isUsed, ...known };
    });
  }

  /** The image of sandboxes: runtimes that pin it say so; of others (containerd before 1.7) it is in what they tell of themselves. */
  async #sandboxImages(): Promise<string[]> {
    const { client } = this.#options;
    const ask = () => client.runtime.status({ verbose: true }, { timeoutMs: 120_000 });
    const image = this.#sandboxImage ?? sandboxImageIn((await ask()).info);
    this.#sandboxImage = image;
    return image === '' ? [] : [image];
  }

  async #disk() {
    const { client, disk = diskOf } = this.#options;
    const { imageFilesystems } = await client.images.imageFsInfo({}, { timeoutMs: 120_000 });
    const path = imageFilesystems[0]?.fsId?.mountpoint;
    if (!path) throw new Error('the runtime does not say where it keeps images');
    return disk(path);
  }

  async #remove(images: readonly ImageFacts[], wantedBytes: number, reason: 'age' | 'space') {
    const { client, log, onRemoved } = this.#options;
    const failures: string[] = [];
    let freedBytes = 0;
    for (const { id, sizeBytes } of images) {
      if (freedBytes >= wantedBytes) break;
      try {
        await client.images.removeImage({ image: { image: id } }, { timeoutMs: 120_000 });
      } catch (error) {
        failures.push(`${id}: ${describeError(error)}`);
        continue;
      }
      this.#seen.delete(id);
      onRemoved?.(reason);
      freedBytes += sizeBytes;
      log.info('removed an image that nobody uses', { image: id, sizeBytes, reason });
    }
    return { freedBytes, failures };
  }

  async #tellCollected(images: readonly ImageFacts[], beganAt: number): Promise<void> {
    const left = images.map(({ id }) => id).filter((id) => this.#seen.has(id));
    await this.#options.onCollected?.(new Set(left), beganAt);
  }

  #oneAtATime<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(task);
    this.#turn = result.catch(() => {});
    return result;
  }
}

/** The image of sandboxes in the `config` that containerd tells with its status; empty when there is none. */
function sandboxImageIn(info: Readonly<Record<string, string>>): string {
  try {
    const { sandboxImage } = JSON.parse(info['config'] ?? '{}') as { sandboxImage?: string };
    return sandboxImage ?? '';
  } catch {
    return '';
  }
}

function namesOf({ id, repoTags, repoDigests }: Image): string[] {
  return [id, ...repoTags, ...repoDigests];
}

async function diskOf(path: string): Promise<{ capacityBytes: number; availableBytes: number }> {
  const { blocks, bavail, bsize } = await statfs(path);
  return { capacityBytes: blocks * bsize, availableBytes: bavail * bsize };
}

/** `1.5 GiB`. */
function formatSize(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  return power === 0 ? `${bytes} B` : `${(bytes / 1024 ** power).toFixed(1)} ${units[power]}`;
}
