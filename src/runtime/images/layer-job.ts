import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { decompress, type Packing } from './decompress.ts';
import { checkDigest, hashFor } from './digest.ts';
import { ImageError } from './image-error.ts';
import { LayerRecorder } from './layer-record.ts';
import { type UnpackedLayer, type UnpackLimits, unpackLayer } from './unpack-layer.ts';

/** Name of the file beside a layer's files from which its archive can be made again. */
export const archiveRecord = 'archive.zst';

/** What is to be unpacked, and where. */
export interface UnpackInput {
  /** Gets the layer in `fs`, which is there and empty, and the record of its archive. */
  directory: string;
  /** Digest that the archive must have. */
  diffId: string;
  packing: Packing;
  limits: UnpackLimits;
  /** It is done in the thread that answers calls. */
  alongside?: true;
}

/** What has been unpacked, and how long its archive is. */
export type StoredLayer = UnpackedLayer & { archiveBytes: number };

/** Unpacks a layer from its blob and checks its digest. Runs in a thread when it is large. @throws ImageError */
export async function unpackArchive(input: UnpackInput, source: AsyncIterable<Uint8Array>): Promise<StoredLayer> {
  const { directory, diffId, packing, limits } = input;
  const hash = hashFor(diffId);
  const recorder = new LayerRecorder(join(directory, archiveRecord));
  try {
    let archiveBytes = 0;
    const archive = watching(decompress(source, packing), limits.maximumBytes, (piece) => {
      hash.update(piece);
      archiveBytes += piece.length;
    });
    const layer = await unpackLayer(archive, join(directory, 'fs'), limits, {
      rest: recorder,
      ...(input.alongside ? { breathe: nextTurn } : {}),
    });
    checkDigest(hash, diffId, 'layer');
    await recorder.end();
    return { ...layer, archiveBytes };
  } catch (error) {
    await recorder.discard();
    throw error;
  }
}

/** Removes a tree. In a thread, because there may be a million files in it. */
export function removeTree({ path }: { path: string }): void {
  rmSync(path, { recursive: true, force: true });
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

async function* watching(
  source: AsyncIterable<Uint8Array>,
  maximumBytes: number,
  see: (piece: Uint8Array) => void,
): AsyncIterable<Uint8Array> {
  let length = 0;
  for await (const piece of source) {
    length += piece.length;
    if (length > maximumBytes)
      throw new ImageError('RESOURCE_EXHAUSTED', `layer has more than ${maximumBytes} bytes, which is over the limit`);
    see(piece);
    yield piece;
  }
}
