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
import type { StoredLayer, UnpackInput } from './layer-job.ts';
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

  /** Opens a directory of layers and sets aside what a crash left half done; `removeAside` takes it away. */
  static async open(root: string, limits: UnpackLimits, threads: Threads): Promise<LayerStore> {
    const store = new LayerStore(root, limits, threads);
    await mkdir(root, { recursive: true, mode: 0o700 });
    spreadSubdirectories(root);
    await Promise.all(
      (await readdir(root)).map(async (name) => {
        const record = name.startsWith('.') ? undefined : await readRecord(join(root, name));
        if (record && directoryName(record.diffId) === name) store.#layers.set(record.diffId, record);
        else store.#setAside(name, Number.POSITIVE_INFINITY);
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
  async *archive(diffId: string): AsyncGenerator<Buffer> {
    const [{ archiveRecord }, { restoreArchive }] = await Promise.all([
      import('./layer-job.ts'),
      import('./layer-record.ts'),
    ]);
    yield* restoreArchive(join(this.#root, directoryName(diffId), archiveRecord), this.path(diffId));
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

  /**
   * Sets layers aside that are not wanted, asking for each at the moment when it goes: from then on they are not here.
   * Gives what will be free when they are removed.
   */
  async setAside(wanted: (diffId: string) => boolean): Promise<LayerUsage & { layers: number }> {
    const freed = { layers: 0, bytes: 0, inodes: 0 };
    for (const [diffId, { bytes, inodes }] of [...this.#layers]) {
      if (wanted(diffId)) continue;
      // In one turn with the question: nobody can come to want it in between.
      this.#setAside(directoryName(diffId), inodes);
      this.#layers.delete(diffId);
      await faultPoint('collect-layers:renamed');
      freed.layers++;
      freed.bytes += bytes;
      freed.inodes += inodes;
    }
    return freed;
  }

  /** Removes what was set aside, and what could not be removed the last time. */
  async removeAside(): Promise<void> {
    for (const [name, inodes] of [...this.#aside]) {
      const path = join(this.#root, name);
      if (inodes < 1000) await rm(path, { recursive: true, force: true });
      else await this.#threads.run('removeTree', { path });
      this.#aside.delete(name);
      await faultPoint('collect-layers:removed');
    }
  }

  /** What is in the directory that no layer here and no work under way owns. */
  async strays(): Promise<string[]> {
    const owned = new Set(this.list().map(directoryName));
    const isKnown = (name: string) => owned.has(name) || this.#working.has(name) || this.#aside.has(name);
    return (await readdir(this.#root)).filter((name) => !isKnown(name));
  }

  /** Small layers, one after another: together they would keep calls waiting. */
  readonly #small = new SerialRunner();
  /** Directories that are being filled. */
  readonly #working = new Set<string>();
  /** Directories that are to be removed, and about how many files each has. */
  readonly #aside = new Map<string, number>();

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
      this.#aside.set(name, size <= smallLayer ? 0 : Number.POSITIVE_INFINITY);
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
    const { unpackArchive } = await import('./layer-job.ts');
    return this.#small.run('unpack', () => unpackArchive({ ...input, alongside: true }, whole()));
  }

  /** Takes a directory out of use, whole, by another name. */
  #setAside(name: string, inodes: number): void {
    const gone = name.startsWith('.') ? name : `.gone-${randomBytes(6).toString('hex')}`;
    if (gone !== name) renameSync(join(this.#root, name), join(this.#root, gone));
    this.#aside.set(gone, inodes);
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
