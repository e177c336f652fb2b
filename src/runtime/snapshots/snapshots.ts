import { chmod, chown, lstat, mkdir, readdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, SerialRunner } from '../../async/index.ts';
import { bindMount, isMountPoint, isOverlay, mountOverlay, unmount } from '../../host/mounts/index.ts';
import { fromByteString, type ImageStore, toByteString } from '../images/index.ts';
import { diskUsage } from './disk-usage.ts';

/** What a snapshot stands on. */
interface SnapshotRecord {
  version: 1;
  imageId: string;
  /** Diff IDs: layers that must stay as long as this does. */
  layers: string[];
  readOnly: boolean;
}

/** The root file systems of containers: an image's layers with a place for changes on top. */
export interface Snapshots {
  /** Mounts a writable root made of the image's layers; gives its path. May be called again for one that is mounted. */
  prepare(imageId: string, containerId: string): Promise<string>;
  /** Mounts an image read-only; gives its path. */
  mountImage(imageId: string, key: string): Promise<string>;
  /** Takes a root or an image mount away with what was written to it; nothing there is no error. */
  remove(key: string): Promise<void>;
  /** What a container has written; at most ten seconds old. */
  usage(containerId: string): Promise<{ bytes: bigint; inodes: bigint }>;
  /** The keys of all that exist. */
  list(): Promise<string[]>;
  /** Diff IDs of the layers in use. */
  layersInUse(): Promise<ReadonlySet<string>>;
}

/** How old a measured usage may be, milliseconds: walking trees costs. */
const usageAgeMs = 10_000;

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
  return new OverlaySnapshots(options.root, options.images, options.clock);
}

class OverlaySnapshots implements Snapshots {
  readonly #root: string;
  readonly #images: () => ImageStore;
  readonly #clock: Clock;
  readonly #serial = new SerialRunner();
  readonly #usage = new Map<string, { bytes: bigint; inodes: bigint; at: number }>();

  constructor(root: string, images: () => ImageStore, clock: Clock) {
    this.#root = root;
    this.#images = images;
    this.#clock = clock;
  }

  prepare(imageId: string, containerId: string): Promise<string> {
    return this.#serial.run(containerId, async () => {
      const directory = join(this.#root, containerId);
      const target = join(directory, 'rootfs');
      if (isOverlay(target)) return target;
      const lower = this.#images().layerPaths(imageId);
      await this.#record(directory, imageId, false);
      const [upper, work] = [join(directory, 'upper'), join(directory, 'work')];
      // A volatile overlay that was not unmounted (a reboot) refuses to be mounted again while this mark is there.
      await rm(join(work, 'work', 'incompat'), { recursive: true, force: true });
      await Promise.all([work, target].map((path) => mkdir(path, { recursive: true, mode: 0o755 })));
      // A container that has run already may have changed them: they are set once, when the place is new.
      if (await isNew(upper)) await this.#inherit(imageId, upper);
      mountOverlay(target, { lower: lower.length > 0 ? lower : [await this.#empty(directory)], upper, work });
      return target;
    });
  }

  mountImage(imageId: string, key: string): Promise<string> {
    return this.#serial.run(key, async () => {
      const directory = join(this.#root, key);
      const target = join(directory, 'rootfs');
      if (isMountPoint(target)) return target;
      const lower = this.#images().layerPaths(imageId);
      await this.#record(directory, imageId, true);
      await mkdir(target, { recursive: true, mode: 0o755 });
      if (lower.length === 0) lower.push(await this.#empty(directory));
      if (lower.length > 1 && this.#images().inheritedDirectories(imageId).length > 0) {
        const inherited = join(directory, 'inherited');
        await rm(inherited, { recursive: true, force: true });
        await this.#inherit(imageId, inherited);
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
      await rm(directory, { recursive: true, force: true });
      this.#usage.delete(key);
    });
  }

  async usage(containerId: string): Promise<{ bytes: bigint; inodes: bigint }> {
    const known = this.#usage.get(containerId);
    const now = this.#clock.monotonic();
    if (known && now - known.at < usageAgeMs) return known;
    const measured = await diskUsage(join(this.#root, containerId, 'upper'));
    this.#usage.set(containerId, { ...measured, at: now });
    return measured;
  }

  list(): Promise<string[]> {
    return readdir(this.#root);
  }

  async layersInUse(): Promise<ReadonlySet<string>> {
    const inUse = new Set<string>();
    for (const key of await this.list()) {
      const record = await readFile(join(this.#root, key, 'snapshot.json'), 'utf8')
        .then((text) => JSON.parse(text) as SnapshotRecord)
        .catch(() => undefined);
      for (const layer of record?.layers ?? []) inUse.add(layer);
    }
    return inUse;
  }

  /** Makes a layer of the directories whose owner and mode the lower layers of the image say. */
  async #inherit(imageId: string, layer: string): Promise<void> {
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
      await chown(directory, uid, gid);
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
    const record: SnapshotRecord = { version: 1, imageId, layers: image?.layers ?? [], readOnly };
    await mkdir(directory, { recursive: true, mode: 0o711 });
    const file = join(directory, 'snapshot.json');
    await writeFile(`${file}.new`, JSON.stringify(record));
    await rename(`${file}.new`, file);
  }
}

async function isNew(path: string): Promise<boolean> {
  return lstat(path).then(
    () => false,
    () => true,
  );
}
