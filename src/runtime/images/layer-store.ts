import { randomBytes } from 'node:crypto';
import { renameSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline, Readable } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { faultPoint } from '../../async/index.ts';
import { checkDigest, hashFor } from './digest.ts';
import { ImageError } from './image-error.ts';
import { type LayerUsage, type UnpackLimits, unpackLayer } from './unpack-layer.ts';

/** An unpacked layer on disk. */
interface LayerRecord extends LayerUsage {
  version: 1;
  /** Digest of the uncompressed archive. */
  diffId: string;
  /** Directories without an entry of their own. */
  implied?: string[];
}

/**
 * Unpacked layers, one directory each, named by their diff ID, so that images share them:
 *
 *   <root>/<16 hex digits>/layer.json   what it is; a directory without it does not exist
 *   <root>/<16 hex digits>/fs           its files, as overlayfs takes them
 *   <root>/.new-…                       being unpacked; removed at the next start
 *
 * A layer appears by one rename, whole or not at all.
 */
export class LayerStore {
  readonly #root: string;
  readonly #limits: UnpackLimits;
  readonly #layers = new Map<string, LayerRecord>();
  readonly #pending = new Map<string, Promise<void>>();

  private constructor(root: string, limits: UnpackLimits) {
    this.#root = root;
    this.#limits = limits;
  }

  /** Opens a directory of layers and cleans up what a crash left half done. */
  static async open(root: string, limits: UnpackLimits): Promise<LayerStore> {
    const store = new LayerStore(root, limits);
    await mkdir(root, { recursive: true, mode: 0o700 });
    await Promise.all(
      (await readdir(root)).map(async (name) => {
        const record = await readFile(join(root, name, 'layer.json'), 'utf8')
          .then((text) => JSON.parse(text) as LayerRecord)
          .catch(() => undefined);
        if (record && !name.startsWith('.')) store.#layers.set(record.diffId, record);
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

  /** Directories that a layer has without saying how they are. */
  implied(diffId: string): readonly string[] {
    return this.#layers.get(diffId)?.implied ?? [];
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

  /** Unpacks a layer unless it is here; several that want the same one share the work. */
  async add(diffId: string, mediaType: string, open: () => AsyncIterable<Buffer>): Promise<void> {
    if (this.#layers.has(diffId)) return;
    const pending = this.#pending.get(diffId);
    if (pending) {
      // The other one's failure (cancelled, perhaps) is not ours.
      await pending.catch(() => {});
      return this.add(diffId, mediaType, open);
    }
    const work = this.#unpack(diffId, mediaType, open());
    this.#pending.set(diffId, work);
    try {
      await work;
    } finally {
      this.#pending.delete(diffId);
    }
  }

  /** Removes the layers that are not wanted, asking for each at the moment when it goes. */
  async collect(wanted: (diffId: string) => boolean): Promise<void> {
    for (const diffId of [...this.#layers.keys()]) {
      if (wanted(diffId)) continue;
      const gone = join(this.#root, `.gone-${randomBytes(6).toString('hex')}`);
      // In one turn with the question: nobody can come to want it in between.
      renameSync(join(this.#root, directoryName(diffId)), gone);
      this.#layers.delete(diffId);
      await faultPoint('collect-layers:renamed');
      await rm(gone, { recursive: true, force: true });
    }
  }

  async #unpack(diffId: string, mediaType: string, compressed: AsyncIterable<Buffer>): Promise<void> {
    const made = join(this.#root, `.new-${randomBytes(6).toString('hex')}`);
    try {
      await mkdir(join(made, 'fs'), { recursive: true });
      // Whatever the umask: this is the root directory of containers.
      await chmod(join(made, 'fs'), 0o755);
      const hash = hashFor(diffId);
      const archive = hashing(decompress(compressed, mediaType), hash, this.#limits.maximumBytes);
      const usage = await unpackLayer(archive, join(made, 'fs'), this.#limits);
      await faultPoint('pull-image:unpacked');
      checkDigest(hash, diffId, 'layer');
      const record: LayerRecord = { version: 1, diffId, ...usage };
      await writeFile(join(made, 'layer.json'), JSON.stringify(record));
      await rename(made, join(this.#root, directoryName(diffId)));
      this.#layers.set(diffId, record);
      await faultPoint('pull-image:layer');
    } catch (error) {
      await rm(made, { recursive: true, force: true });
      throw ImageError.from(error);
    }
  }
}

function directoryName(diffId: string): string {
  return diffId.split(':')[1]!.slice(0, 16);
}

/** Undoes the compression that the media type names. @throws ImageError for an unknown or encrypted one */
export function decompress(source: AsyncIterable<Buffer>, mediaType: string): AsyncIterable<Buffer> {
  if (/\+encrypted/.test(mediaType))
    throw new ImageError('INVALID_ARGUMENT', `layers of type ${mediaType} are encrypted, which is not supported`);
  if (/[.+]tar$/.test(mediaType) || mediaType.endsWith('rootfs.diff.tar')) return source;
  if (!/gzip$|zstd$/.test(mediaType))
    throw new ImageError('INVALID_ARGUMENT', `layers of type ${JSON.stringify(mediaType)} are not supported`);
  const size = 256 * 1024;
  const decoder = mediaType.endsWith('zstd')
    ? createZstdDecompress({ chunkSize: size })
    : createGunzip({ chunkSize: size });
  // Errors of either side surface where the decoder is read.
  pipeline(Readable.from(source, { objectMode: false, highWaterMark: size }), decoder, () => {});
  return decoder;
}

async function* hashing(
  source: AsyncIterable<Buffer>,
  hash: { update(piece: Buffer): unknown },
  maximumBytes: number,
): AsyncIterable<Buffer> {
  let length = 0;
  for await (const piece of source) {
    length += piece.length;
    if (length > maximumBytes)
      throw new ImageError('RESOURCE_EXHAUSTED', `layer has more than ${maximumBytes} bytes, which is over the limit`);
    hash.update(piece);
    yield piece;
  }
}
