import { closeSync, openSync, readFileSync } from 'node:fs';
import { chmod, chown, lstat, mkdir, readdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { type Clock, SerialRunner } from '../../async/index.ts';
import { spreadSubdirectories } from '../../host/files/index.ts';
import { bindMount, isMountPoint, isOverlay, mountMapped, mountOverlay, unmount } from '../../host/mounts/index.ts';
import { type IdMapping, toHostId, type UserMapping } from '../../host/namespaces/index.ts';
import { fromByteString, type ImageStore, toByteString } from '../images/index.ts';
import { diskUsage } from './disk-usage.ts';

/** What a snapshot stands on. */
interface SnapshotRecord {
  version: 1;
  imageId: string;
  /** Diff IDs: layers that must stay as long as this does. */
  layers: string[];
  readOnly: boolean;
  /** The boot (an id of the kernel) in which it was mounted last. */
  boot?: string;
}

/** Whose a root is: what belongs to an id in the image belongs to that id of a user namespace. */
export interface RootOwner {
  /** The namespace's file. */
  namespacePath: string;
  mapping: UserMapping;
}

/** The root file systems of containers: an image's layers with a place for changes on top. */
export interface Snapshots {
  /** Mounts a writable root made of the image's layers; gives its path. May be called again for one that is mounted. */
  prepare(imageId: string, containerId: string, owner?: RootOwner): Promise<string>;
  /** Mounts an image read-only; gives its path. */
  mountImage(imageId: string, key: string, owner?: RootOwner): Promise<string>;
  /** Takes a root or an image mount away with what was written to it; nothing there is no error. */
  remove(key: string): Promise<void>;
  /** What a container has written, as it was measured last; measured again in the background when that is a while ago. */
  usage(containerId: string): Promise<{ bytes: bigint; inodes: bigint }>;
  /** The directory with what a container has written. */
  changesOf(containerId: string): string;
  /** The keys of all that exist. */
  list(): Promise<string[]>;
  /** Diff IDs of the layers in use. */
  layersInUse(): Promise<ReadonlySet<string>>;
  /** Ids of the images that they were made of. */
  imagesInUse(): Promise<ReadonlySet<string>>;
}

/** How old a measured usage may be, milliseconds: walking trees costs. */
const usageAgeMs = 10_000;
/** Of the time, the share that measuring one tree may take. */
const usageShare = 1 / 50;

/**
 * Opens a directory of snapshots:
 *
 *   <root>/<key>/snapshot.json   what it stands on; written first
 *   <root>/<key>/{upper,work}    changes
 *   <root>/<key>/rootfs          where it is mounted
 */
export async function openSnapshots(options: {
  root: string;
  images: () => ImageStore;
  clock: Clock;
}): Promise<Snapshots> {
  await mkdir(options.root, { recursive: true, mode: 0o711 });
  spreadSubdirectories(options.root);
  return new OverlaySnapshots(options.root, options.images, options.clock);
}

class OverlaySnapshots implements Snapshots {
  readonly #root: string;
  readonly #images: () => ImageStore;
  readonly #clock: Clock;
  readonly #serial = new SerialRunner();
  readonly #usage = new Map<string, { measured: { bytes: bigint; inodes: bigint }; goodUntil: number }>();
  readonly #measuring = new Map<string, Promise<{ bytes: bigint; inodes: bigint }>>();
  readonly #boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();

  constructor(root: string, images: () => ImageStore, clock: Clock) {
    this.#root = root;
    this.#images = images;
    this.#clock = clock;
  }

  prepare(imageId: string, containerId: string, owner?: RootOwner): Promise<string> {
    return this.#serial.run(containerId, async () => {
      const directory = join(this.#root, containerId);
      const target = join(directory, 'rootfs');
      if (isOverlay(target)) return target;
      const lower = this.#images().layerPaths(imageId);
      const [upper, work] = [join(directory, 'upper'), join(directory, 'work')];
      await this.#makeTrusted(directory, upper, work);
      await this.#record(directory, imageId, false);
      await Promise.all([work, target].map((path) => mkdir(path, { recursive: true, mode: 0o755 })));
      // A container that has run already may have changed them: they are set once, when the place is new.
      if (await isNew(upper)) await this.#inherit(imageId, upper, owner);
      using layers = await mapLayers(directory, lower, owner);
      const below = layers.paths.length > 0 ? layers.paths : [await this.#empty(directory)];
      mountOverlay(target, { lower: below, upper, work });
      return target;
    });
  }

  mountImage(imageId: string, key: string, owner?: RootOwner): Promise<string> {
    return this.#serial.run(key, async () => {
      const directory = join(this.#root, key);
      const target = join(directory, 'rootfs');
      if (isMountPoint(target)) return target;
      const lower = this.#images().layerPaths(imageId);
      await this.#record(directory, imageId, true);
      await mkdir(target, { recursive: true, mode: 0o755 });
      using layers = await mapLayers(directory, lower, owner);
      lower.splice(0, lower.length, ...layers.paths);
      if (lower.length === 0) lower.push(await this.#empty(directory));
      if (lower.length > 1 && this.#images().inheritedDirectories(imageId).length > 0) {
        const inherited = join(directory, 'inherited');
        await rm(inherited, { recursive: true, force: true });
        await this.#inherit(imageId, inherited, owner);
        lower.unshift(inherited);
      }
      // An overlay needs two layers to be read-only.
      if (lower.length > 1) mountOverlay(target, { lower });
      else bindMount(lower[0]!, target, { readOnly: true });
      return target;
    });
  }

  remove(key: string): Promise<void> {
    return this.#serial.run(key, async () => {
      const directory = join(this.#root, key);
      unmount(join(directory, 'rootfs'));
      if (isMountPoint(join(directory, 'rootfs'))) unmount(join(directory, 'rootfs'));
      // There only if we were killed at the wrong moment, but what is below it is not ours to remove.
      unmount(join(directory, 'layers'));
      await rm(directory, { recursive: true, force: true });
      this.#usage.delete(key);
      this.#measuring.delete(key);
    });
  }

  changesOf(containerId: string): string {
    return join(this.#root, containerId, 'upper');
  }

  async usage(containerId: string): Promise<{ bytes: bigint; inodes: bigint }> {
    const known = this.#usage.get(containerId);
    if (known && this.#clock.monotonic() < known.goodUntil) return known.measured;
    const fresh = this.#measuring.get(containerId) ?? this.#measure(containerId);
    return known?.measured ?? fresh;
  }

  #measure(containerId: string): Promise<{ bytes: bigint; inodes: bigint }> {
    const begun = this.#clock.monotonic();
    const measuring = diskUsage(join(this.#root, containerId, 'upper'))
      .then((measured) => {
        const now = this.#clock.monotonic();
        // A large tree is measured less often.
        const goodUntil = now + Math.max(usageAgeMs, (now - begun) / usageShare);
        if (this.#measuring.has(containerId)) this.#usage.set(containerId, { measured, goodUntil });
        return measured;
      })
      .finally(() => this.#measuring.delete(containerId));
    this.#measuring.set(containerId, measuring);
    return measuring;
  }

  list(): Promise<string[]> {
    return readdir(this.#root);
  }

  async layersInUse(): Promise<ReadonlySet<string>> {
    return new Set((await this.#records()).flatMap(({ layers }) => layers));
  }

  async imagesInUse(): Promise<ReadonlySet<string>> {
    return new Set((await this.#records()).map(({ imageId }) => imageId));
  }

  async #records(): Promise<SnapshotRecord[]> {
    const records = await Promise.all((await this.list()).map((key) => readRecord(join(this.#root, key))));
    return records.filter((one) => one !== undefined);
  }

  /**
   * A volatile overlay leaves a mark for as long as what was written to it may not be on the disk, and the kernel does
   * not mount it again while that is there. In the boot that wrote it, nothing is lost: the mark goes. After a crash of
   * the machine nobody knows what is true of the changes: they go, and the root begins anew.
   */
  async #makeTrusted(directory: string, upper: string, work: string): Promise<void> {
    const mark = join(work, 'work', 'incompat');
    if (await isNew(mark)) return;
    const record = await readRecord(directory);
    if (record?.boot === this.#boot) return rm(mark, { recursive: true, force: true });
    for (const path of [upper, work]) await rm(path, { recursive: true, force: true });
  }

  /** Makes a layer of the directories whose owner and mode the lower layers of the image say. */
  async #inherit(imageId: string, layer: string, owner?: RootOwner): Promise<void> {
    const made = `${layer}.new`;
    await rm(made, { recursive: true, force: true });
    await mkdir(made);
    const [top] = this.#images().layerPaths(imageId);
    // The root of an overlay is as its topmost directory is.
    const root = top ? await lstat(top) : { mode: 0o755, uid: 0, gid: 0, mtimeMs: 0 };
    const all = [
      { path: '', mode: root.mode & 0o7777, uid: root.uid, gid: root.gid, mtime: root.mtimeMs / 1000 },
      ...this.#images().inheritedDirectories(imageId),
    ];
    for (const { path, mode, uid, gid } of all) {
      const directory = fromByteString(`${toByteString(made)}/${path}`);
      await mkdir(directory, { recursive: true });
      await chown(directory, hostId(owner?.mapping.uids, uid), hostId(owner?.mapping.gids, gid));
      await chmod(directory, mode);
    }
    for (const { path, mtime } of all.reverse())
      await utimes(fromByteString(`${toByteString(made)}/${path}`), mtime, mtime);
    await rename(made, layer);
  }

  async #empty(directory: string): Promise<string> {
    const empty = join(directory, 'empty');
    await mkdir(empty, { recursive: true });
    return empty;
  }

  async #record(directory: string, imageId: string, readOnly: boolean): Promise<void> {
    const image = this.#images().status(imageId);
    const record: SnapshotRecord = {
      version: 1,
      imageId,
      layers: image?.layers ?? [],
      readOnly,
      boot: this.#boot,
    };
    await mkdir(directory, { recursive: true, mode: 0o711 });
    const file = join(directory, 'snapshot.json');
    await writeFile(`${file}.new`, JSON.stringify(record));
    await rename(`${file}.new`, file);
  }
}

/** An id of an image as the file system of a container has it. What a user namespace has no id for belongs to nobody. */
const hostId = (mappings: readonly IdMapping[] | undefined, id: number): number =>
  mappings ? (toHostId(mappings, id) ?? 65_534) : id;

/**
 * Shows the layers with their owners translated, at another place, until the end of the scope: an overlay keeps what it
 * was mounted from. Without an owner they are where they are.
 */
async function mapLayers(
  directory: string,
  lower: readonly string[],
  owner: RootOwner | undefined,
): Promise<Disposable & { paths: string[] }> {
  if (!owner || lower.length === 0) return { paths: [...lower], [Symbol.dispose]: () => {} };
  const below = commonDirectory(lower);
  const mapped = join(directory, 'layers');
  await mkdir(mapped, { recursive: true });
  unmount(mapped);
  const namespace = openSync(owner.namespacePath, 'r');
  try {
    mountMapped(below, mapped, namespace, { readOnly: true });
  } finally {
    closeSync(namespace);
  }
  return { paths: lower.map((path) => join(mapped, relative(below, path))), [Symbol.dispose]: () => unmount(mapped) };
}

function commonDirectory(paths: readonly string[]): string {
  const [first = '/', ...rest] = paths;
  let common = dirname(first);
  while (!rest.every((path) => path.startsWith(`${common}/`))) common = dirname(common);
  return common;
}

async function readRecord(directory: string): Promise<SnapshotRecord | undefined> {
  try {
    return JSON.parse(await readFile(join(directory, 'snapshot.json'), 'utf8')) as SnapshotRecord;
  } catch {
    return undefined;
  }
}

async function isNew(path: string): Promise<boolean> {
  return lstat(path).then(
    () => false,
    () => true,
  );
}
