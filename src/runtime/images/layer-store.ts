import { randomBytes } from 'node:crypto';
import { renameSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { faultPoint, SerialRunner } from '../../async/index.ts';
import { spreadSubdirectories } from '../../host/files/index.ts';
import type { Threads } from '../../host/threads/index.ts';
import { packingOf } from './decompress.ts';
import { hashFor } from './digest.ts';
import { ImageError } from './image-error.ts';
import { archiveRecord, type StoredLayer, type UnpackInput, unpackArchive } from './layer-job.ts';
import { restoreArchive } from './layer-record.ts';
import type { LayerUsage, UnpackLimits } from './unpack-layer.ts';

/** An unpacked layer on disk. */
interface LayerRecord extends LayerUsage {
  version: 2;
  /** Digest of the uncompressed archive. */
  diffId: string;
  /** Directories without an entry of their own; byte strings. */
  implied?: string[];
  /** Length of the archive, bytes. */
  archiveBytes: number;
}

/** A layer to be had from somewhere. */
export interface LayerSource {
  diffId: string;
  mediaType: string;
  /** As it comes, bytes. */
  size: number;
  open: () => AsyncIterable<Uint8Array>;
}

/** Below this, handing a layer to a thread costs more than it spares, bytes. */
const smallLayer = 128 * 1024;

/**
 * Unpacked layers, one directory each, named by their diff ID, so that images share them:
 *
 *   <root>/<16 hex digits>/layer.json   what it is; a directory without it does not exist
 *   <root>/<16 hex digits>/fs           its files, as overlayfs takes them
 *   <root>/<16 hex digits>/archive.zst  its archive without the files (layer-record.ts)
 *   <root>/.new-…                       being unpacked; removed at the next start
 *   <root>/.gone-…                      being removed; removed at the next start
 *
 * A layer appears by one rename, whole or not at all, and goes the same way.
 */
export class LayerStore {
  readonly #root: string;
  readonly #limits: UnpackLimits;
  readonly #threads: Threads;
  readonly #layers = new Map<string, LayerRecord>();
  readonly #pending = new Map<string, Promise<void>>();

  private constructor(root: string, limits: UnpackLimits, threads: Threads) {
    this.#root = root;
    this.#limits = limits;
    this.#threads = threads;
  }

  /** Opens a directory of layers and cleans up what a crash left half done. */
  static async open(root: string, limits: UnpackLimits, threads: Threads): Promise<LayerStore> {
    const store = new LayerStore(root, limits, threads);
    await mkdir(root, { recursive: true, mode: 0o700 });
    spreadSubdirectories(root);
    await Promise.all(
      (await readdir(root)).map(async (name) => {
        const record = name.startsWith('.') ? undefined : await readRecord(join(root, name));
        if (record && directoryName(record.diffId) === name) store.#layers.set(record.diffId, record);
        else await rm(join(root, name), { recursive: true, force: true });
      }),
    );
    return store;
  }

  has(diffId: string): boolean {
    return this.#layers.has(diffId);
  }

  /** The directory with a layer's files. */
  path(diffId: string): string {
    return join(this.#root, directoryName(diffId), 'fs');
  }

  /** Directories that a layer has without saying how they are; byte strings. */
  implied(diffId: string): readonly string[] {
    return this.#layers.get(diffId)?.implied ?? [];
  }

  /** The archive of a layer, to the byte as it was. @throws ImageError when files of it were changed */
  archive(diffId: string): AsyncIterable<Buffer> {
    return restoreArchive(join(this.#root, directoryName(diffId), archiveRecord), this.path(diffId));
  }

  /** What one layer takes on disk. */
  usage(diffId: string): LayerUsage & { archiveBytes: number } {
    const { bytes, inodes, archiveBytes } = this.#layers.get(diffId) ?? { bytes: 0, inodes: 0, archiveBytes: 0 };
    return { bytes, inodes, archiveBytes };
  }

  /** Sum over all layers; each counts once, however many images have it. */
  totalUsage(): LayerUsage {
    const total = { bytes: 0, inodes: 0 };
    for (const { bytes, inodes } of this.#layers.values()) {
      total.bytes += bytes;
      total.inodes += inodes;
    }
    return total;
  }

  /** Diff IDs of the layers that are here. */
  list(): string[] {
    return [...this.#layers.keys()];
  }

  /** Unpacks a layer unless it is here; several that want the same one share the work. */
  async add(layer: LayerSource): Promise<void> {
    const { diffId } = layer;
    if (this.#layers.has(diffId)) return;
    const pending = this.#pending.get(diffId);
    if (pending) {
      // The other one's failure (cancelled, perhaps) is not ours.
      await pending.catch(() => {});
      return this.add(layer);
    }
    const work = this.#unpack(layer);
    this.#pending.set(diffId, work);
    try {
      await work;
    } finally {
      this.#pending.delete(diffId);
    }
  }

  /** Removes the layers that are not wanted, asking for each at the moment when it goes; gives what became free. */
  async collect(wanted: (diffId: string) => boolean): Promise<LayerUsage & { layers: number }> {
    const freed = { layers: 0, bytes: 0, inodes: 0 };
    // What could not be removed to its end the last time.
    for (const name of await this.strays()) if (name.startsWith('.')) await this.#remove(join(this.#root, name), 0);
    for (const [diffId, { bytes, inodes }] of [...this.#layers]) {
      if (wanted(diffId)) continue;
      const gone = join(this.#root, `.gone-${randomBytes(6).toString('hex')}`);
      // In one turn with the question: nobody can come to want it in between.
      renameSync(join(this.#root, directoryName(diffId)), gone);
      this.#layers.delete(diffId);
      await faultPoint('collect-layers:renamed');
      await this.#remove(gone, inodes);
      await faultPoint('collect-layers:removed');
      freed.layers++;
      freed.bytes += bytes;
      freed.inodes += inodes;
    }
    return freed;
  }

  /** What is in the directory that no layer here and no work under way owns. */
  async strays(): Promise<string[]> {
    const owned = new Set(this.list().map(directoryName));
    return (await readdir(this.#root)).filter((name) => !owned.has(name) && !this.#working.has(name));
  }

  /** Small layers, one after another: together they would keep calls waiting. */
  readonly #small = new SerialRunner();
  /** Directories that are being filled or emptied. */
  readonly #working = new Set<string>();

  async #unpack({ diffId, mediaType, size, open }: LayerSource): Promise<void> {
    // Whether it can be unpacked at all is known before anything is asked for.
    const packing = packingOf(mediaType);
    hashFor(diffId);
    const name = `.new-${randomBytes(6).toString('hex')}`;
    const made = join(this.#root, name);
    this.#working.add(name);
    try {
      await mkdir(join(made, 'fs'), { recursive: true });
      // Whatever the umask: this is the root directory of containers.
      await chmod(join(made, 'fs'), 0o755);
      await faultPoint('pull-image:begun');
      const input = { directory: made, diffId, packing, limits: this.#limits };
      const layer =
        size <= smallLayer
          ? await this.#unpackSmall(input, open())
          : await this.#threads.run<StoredLayer>('unpackArchive', input, open());
      await faultPoint('pull-image:unpacked');
      const record: LayerRecord = { version: 2, diffId, ...layer };
      await writeFile(join(made, 'layer.json'), JSON.stringify(record));
      await faultPoint('pull-image:layer-written');
      await rename(made, join(this.#root, directoryName(diffId)));
      this.#layers.set(diffId, record);
      await faultPoint('pull-image:layer');
    } catch (error) {
      await this.#remove(made, size <= smallLayer ? 0 : Number.POSITIVE_INFINITY).catch(() => {});
      throw ImageError.from(error);
    } finally {
      this.#working.delete(name);
    }
  }

  async #unpackSmall(input: UnpackInput, source: AsyncIterable<Uint8Array>): Promise<StoredLayer> {
    // All of it first: nobody waits here for a registry that others are not waiting for.
    const pieces = await Array.fromAsync(source);
    const whole = async function* () {
      yield* pieces;
    };
    return this.#small.run('unpack', () => unpackArchive({ ...input, alongside: true }, whole()));
  }

  async #remove(path: string, inodes: number): Promise<void> {
    const name = path.slice(this.#root.length + 1);
    this.#working.add(name);
    try {
      if (inodes < 1000) await rm(path, { recursive: true, force: true });
      else await this.#threads.run('removeTree', { path });
    } finally {
      this.#working.delete(name);
    }
  }
}

async function readRecord(directory: string): Promise<LayerRecord | undefined> {
  try {
    const record = JSON.parse(await readFile(join(directory, 'layer.json'), 'utf8')) as LayerRecord;
    return record.version === 2 && typeof record.diffId === 'string' ? record : undefined;
  } catch {
    return undefined;
  }
}

function directoryName(diffId: string): string {
  return diffId.split(':')[1]!.slice(0, 16);
}
