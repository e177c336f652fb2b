import { constants, createReadStream, createWriteStream } from 'node:fs';
import { lstat, open } from 'node:fs/promises';
import { pipeline } from 'node:stream';
import { finished } from 'node:stream/promises';
import { createZstdCompress, createZstdDecompress, constants as zlibConstants } from 'node:zlib';
import { ImageError } from './image-error.ts';
import { isMarker, locate, splitPath } from './layer-tree.ts';
import { fromByteString, showByteString } from './tar-header.ts';
import { type TarEntry, TarReader } from './tar-reader.ts';

/**
 * All of a layer's archive but the content of its files, compressed: with the files it makes the same archive again, to
 * the byte, so that an image can be written out under its own digests though its layers are kept unpacked only.
 */
export class LayerRecorder {
  readonly #packer = createZstdCompress({ params: { [zlibConstants.ZSTD_c_compressionLevel]: 1 } });
  readonly #file: ReturnType<typeof createWriteStream>;
  readonly #done: Promise<void>;
  #pieces: Buffer[] = [];
  #length = 0;

  constructor(path: string) {
    this.#file = createWriteStream(path, { mode: 0o600, flags: 'wx' });
    this.#packer.pipe(this.#file);
    this.#packer.on('error', (error) => this.#file.destroy(error));
    this.#done = finished(this.#file);
    this.#done.catch(() => {});
  }

  /** Adds bytes. They are copied. */
  add(bytes: Buffer): void {
    this.#pieces.push(Buffer.from(bytes));
    this.#length += bytes.length;
    if (this.#length >= 64 * 1024) this.#flush();
  }

  /** Set when the writer is behind: then wait for `drained`. */
  get isFull(): boolean {
    return this.#packer.writableNeedDrain;
  }

  /** Resolves when more can be added. @throws what the file system says */
  async drained(): Promise<void> {
    await Promise.race([new Promise((resolve) => this.#packer.once('drain', resolve)), this.#done]);
  }

  /** Writes the end. @throws what the file system says */
  async end(): Promise<void> {
    this.#flush();
    this.#packer.end();
    await this.#done;
  }

  /** Gives up. */
  async discard(): Promise<void> {
    this.#packer.destroy();
    this.#file.destroy();
    await this.#done.catch(() => {});
  }

  #flush(): void {
    this.#packer.write(Buffer.concat(this.#pieces));
    this.#pieces = [];
    this.#length = 0;
  }
}

/** Puts the archive of a layer together again. @throws ImageError when a file is not as it was */
export async function* restoreArchive(recordFile: string, directory: string): AsyncIterable<Buffer> {
  const rest: Buffer[] = [];
  const source = createZstdDecompress();
  // Errors of either side surface where the record is read.
  pipeline(createReadStream(recordFile), source, () => {});
  const isElsewhere = (path: string) => !isMarker(path);
  const reader = new TarReader(source, { onRest: (bytes) => rest.push(Buffer.from(bytes)), isElsewhere });
  try {
    for (let entry = await reader.next(); entry; entry = await reader.next()) {
      yield* rest.splice(0);
      if (entry.kind === 'file' && isElsewhere(entry.path)) yield* readContent(directory, entry);
    }
    await reader.drain();
    yield* rest.splice(0);
  } finally {
    await reader.close();
  }
}

async function* readContent(directory: string, entry: TarEntry): AsyncIterable<Buffer> {
  const path = fromByteString(locate(directory, splitPath(entry.path)));
  const changed = (why: string) =>
    new ImageError('DATA_LOSS', `layer has ${showByteString(entry.path)} no longer as it was: ${why}`);
  // A FIFO may be there, or a device: looking at it is harmless, opening it may not be.
  const there = await lstat(path).catch((error: Error) => {
    throw changed(error.message);
  });
  if (!there.isFile()) throw changed('it is no file');
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const { size } = await file.stat();
    if (size !== entry.size) throw changed(`${size} bytes in place of ${entry.size}`);
    for (const { offset, length } of entry.segments ?? [{ offset: 0, length: size }]) {
      for (let at = 0; at < length; ) {
        const { bytesRead, buffer } = await file.read({
          buffer: Buffer.allocUnsafe(Math.min(length - at, 1 << 18)),
          position: offset + at,
        });
        if (bytesRead === 0) throw changed('it ended early');
        at += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
    }
  } finally {
    await file.close();
  }
}
