import { sha256 } from './digest.ts';
import type { ImageConfiguration } from './image-documents.ts';
import { checkPlatform, type Descriptor, type Manifest, readConfiguration, readManifest } from './image-documents.ts';
import { ImageError } from './image-error.ts';
import type { Platform } from './image-platform.ts';

/** How deep indexes may be in one another. */
const deepestIndex = 3;

/** Where the documents of an image come from: a registry or a directory. Both check digests. */
export interface DocumentSource {
  manifest(digest: string, signal?: AbortSignal): Promise<{ body: Buffer; mediaType: string }>;
  document(digest: string, signal?: AbortSignal): Promise<Buffer>;
}

/** An image's documents, read and found to belong together. */
export interface FetchedImage {
  manifest: Manifest;
  /** Of the manifest or index that the name stands for. */
  topDigest: string;
  /** Of the manifest. */
  manifestDigest: string;
  /** The configuration to the byte, its digest (the image's id) and what it says. */
  id: string;
  document: Buffer;
  configuration: ImageConfiguration;
}

/** Goes from a manifest or index to the image for a machine. @throws ImageError */
export async function readImage(
  first: { body: Buffer; mediaType: string },
  source: DocumentSource,
  machine: Platform,
  signal?: AbortSignal,
): Promise<FetchedImage> {
  let body = first.body;
  let read = readManifest(body, first.mediaType, machine);
  for (let depth = 0; 'chosen' in read; depth++) {
    if (depth === deepestIndex)
      throw new ImageError('INVALID_ARGUMENT', `more than ${deepestIndex} image indexes inside one another`);
    const next = await source.manifest(read.chosen.digest, signal);
    body = next.body;
    read = readManifest(body, next.mediaType || read.chosen.mediaType, machine);
  }
  const { manifest } = read;
  const document = await source.document(manifest.config.digest, signal);
  const configuration = readConfiguration(document, manifest.layers.length);
  checkPlatform(configuration, machine);
  return {
    manifest,
    topDigest: sha256(first.body),
    manifestDigest: sha256(body),
    id: manifest.config.digest,
    document,
    configuration,
  };
}

/** Compressed size of an image: its configuration and each layer, bytes. */
export function packedSize({ config, layers }: Manifest): number {
  return config.size + layers.reduce((sum, layer: Descriptor) => sum + layer.size, 0);
}

/**
 * Works on several things at once, at most so many. The first failure ends all; what was begun has been cleaned up
 * when it is reported.
 */
export async function inParallel<T>(
  things: readonly T[],
  most: number,
  signal: AbortSignal | undefined,
  work: (thing: T, stop: AbortSignal) => Promise<void>,
): Promise<void> {
  const todo = [...things];
  const failed = new AbortController();
  const stop = signal ? AbortSignal.any([signal, failed.signal]) : failed.signal;
  let failure: { error: unknown } | undefined;
  const worker = async (): Promise<void> => {
    for (let next = todo.shift(); next !== undefined && !stop.aborted; next = todo.shift())
      await work(next, stop).catch((error: unknown) => {
        failure ??= { error };
        failed.abort(error);
      });
  };
  await Promise.all(Array.from({ length: Math.min(most, things.length) }, worker));
  if (signal?.aborted) throw signal.reason;
  if (failure) throw failure.error;
}
