import { pipeline, Readable } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { ImageError } from './image-error.ts';

/** Pieces that come out of a decoder, bytes. */
const pieceBytes = 256 * 1024;

/** How a layer is packed. */
export type Packing = 'gzip' | 'zstd' | 'none';

/** The packing that a layer's media type names. @throws ImageError for one that cannot be unpacked */
export function packingOf(mediaType: string): Packing {
  if (/\+encrypted/.test(mediaType))
    throw new ImageError('INVALID_ARGUMENT', `layers of type ${mediaType} are encrypted, which is not supported`);
  const type =
    /^application\/vnd\.(?:oci\.image\.layer\.(?:v1|nondistributable\.v1)\.tar|docker\.image\.rootfs\.(?:foreign\.)?diff\.tar)(?:[.+](gzip|zstd))?$/.exec(
      mediaType,
    );
  if (!type) throw new ImageError('INVALID_ARGUMENT', `layers of type ${JSON.stringify(mediaType)} are not supported`);
  return (type[1] as Packing | undefined) ?? 'none';
}

/**
 * Undoes a compression. A `none` that is packed after all is found out by its first bytes: some tools push layers under
 * the wrong type, and everybody else reads them.
 */
export async function* decompress(source: AsyncIterable<Uint8Array>, packing: Packing): AsyncIterable<Uint8Array> {
  const pieces = source[Symbol.asyncIterator]();
  let decoder: Readable | undefined;
  try {
    const first = await pieces.next();
    const actual = first.done ? packing : (packingOfBytes(first.value) ?? packing);
    const whole = replay(first, pieces);
    if (actual === 'none') return yield* whole;
    const unpack =
      actual === 'zstd' ? createZstdDecompress({ chunkSize: pieceBytes }) : createGunzip({ chunkSize: pieceBytes });
    decoder = unpack;
    // Errors of either side surface where the decoder is read.
    pipeline(Readable.from(whole, { objectMode: false, highWaterMark: pieceBytes }), unpack, () => {});
    yield* unpack as AsyncIterable<Uint8Array>;
  } catch (error) {
    throw explain(error);
  } finally {
    decoder?.destroy();
    await pieces.return?.();
  }
}

async function* replay(
  first: IteratorResult<Uint8Array>,
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array, void> {
  for (let next = first; !next.done; next = await rest.next()) yield next.value;
}

/** By its first bytes: gzip or zstd; undefined for anything else. */
export function packingOfBytes(bytes: Uint8Array): Packing | undefined {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return 'gzip';
  const [one, two, three, four] = bytes;
  // A zstd frame, or one that is to be skipped, which may come first.
  if (one === 0x28 && two === 0xb5 && three === 0x2f && four === 0xfd) return 'zstd';
  return one !== undefined && (one & 0xf0) === 0x50 && two === 0x2a && three === 0x4d && four === 0x18
    ? 'zstd'
    : undefined;
}

function explain(error: unknown): unknown {
  const { code = '' } = error as { code?: string };
  if (!/^(Z_|ZSTD_|ERR_ZSTD|ERR__ERROR)/.test(code)) return error;
  return new ImageError('DATA_LOSS', `layer is damaged: ${(error as Error).message}`, { cause: error });
}
