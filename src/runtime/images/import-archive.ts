import { createReadStream } from 'node:fs';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, normalize } from 'node:path';
import { sha256 } from './digest.ts';
import { type Descriptor, readManifest } from './image-documents.ts';
import { ImageError } from './image-error.ts';
import { unpackLayer } from './unpack-layer.ts';

/** An image found in an archive. */
export interface ArchiveImage {
  names: string[];
  configuration: Buffer;
  layers: { mediaType: string; open: () => AsyncIterable<Buffer> }[];
  /** Digest of its manifest, when the archive has one. */
  manifestDigest?: string;
  size: number;
}

/**
 * Reads an OCI image layout (a directory or a tar of one) or a docker-archive (`docker save`) and hands each image to
 * `use`. @throws ImageError when it is neither
 */
export async function readImageArchive(path: string, use: (image: ArchiveImage) => Promise<void>): Promise<void> {
  const info = await stat(path).catch((cause: unknown) => {
    throw new ImageError('NOT_FOUND', `cannot read ${path}`, { cause });
  });
  if (info.isDirectory()) return readDirectory(path, path, use);
  const unpacked = await mkdtemp(join(tmpdir(), 'deckhand-import-'));
  try {
    await unpackLayer(createReadStream(path, { highWaterMark: 1 << 20 }), unpacked, {
      maximumBytes: 2 ** 40,
      maximumEntries: 1_000_000,
    });
    await readDirectory(path, unpacked, use);
  } finally {
    await rm(unpacked, { recursive: true, force: true });
  }
}

async function readDirectory(
  name: string,
  directory: string,
  use: (image: ArchiveImage) => Promise<void>,
): Promise<void> {
  const json = async <T>(file: string): Promise<T | undefined> => {
    const text = await readFile(inside(directory, file), 'utf8').catch(() => undefined);
    return text === undefined ? undefined : (JSON.parse(text) as T);
  };
  // What `docker save` writes today is both; its own list has the names.
  const saved = await json<{ Config: string; RepoTags: string[] | null; Layers: string[] }[]>('manifest.json');
  if (saved) {
    for (const image of saved) await use(await dockerImage(directory, image));
    return;
  }
  const index = await json<{ manifests: Descriptor[] }>('index.json');
  if (!index?.manifests)
    throw new ImageError(
      'INVALID_ARGUMENT',
      `${name} is neither an OCI image layout (no index.json) nor a docker-archive (no manifest.json)`,
    );
  for (const descriptor of index.manifests) await use(await layoutImage(directory, descriptor));
}

async function dockerImage(
  directory: string,
  image: { Config: string; RepoTags: string[] | null; Layers: string[] },
): Promise<ArchiveImage> {
  const configuration = await readFile(inside(directory, image.Config));
  const layers = await Promise.all(
    image.Layers.map(async (layer) => {
      const file = inside(directory, layer);
      return {
        mediaType: await guessMediaType(file),
        open: () => createReadStream(file, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>,
        size: (await stat(file)).size,
      };
    }),
  );
  return {
    names: image.RepoTags ?? [],
    configuration,
    layers,
    size: configuration.length + layers.reduce((sum, { size }) => sum + size, 0),
  };
}

async function layoutImage(directory: string, descriptor: Descriptor): Promise<ArchiveImage> {
  const blob = (digest: string) => inside(directory, join('blobs', ...digest.split(':')));
  const body = await readFile(blob(descriptor.digest));
  let read = readManifest(body, descriptor.mediaType);
  if ('chosen' in read) read = readManifest(await readFile(blob(read.chosen.digest)), read.chosen.mediaType);
  if ('chosen' in read) throw new ImageError('INVALID_ARGUMENT', 'an index inside an index is not supported');
  const { config, layers } = read.manifest;
  const name =
    descriptor.annotations?.['io.containerd.image.name'] ??
    descriptor.annotations?.['org.opencontainers.image.ref.name'];
  return {
    names: name ? [name] : [],
    configuration: await readFile(blob(config.digest)),
    layers: layers.map((layer) => ({
      mediaType: layer.mediaType,
      open: () => createReadStream(blob(layer.digest), { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>,
    })),
    manifestDigest: sha256(body),
    size: config.size + layers.reduce((sum, { size }) => sum + size, 0),
  };
}

/** A path inside the archive's directory. @throws ImageError for one that leaves it */
function inside(directory: string, file: string): string {
  const path = normalize(file);
  if (path.startsWith('..') || path.startsWith('/'))
    throw new ImageError('INVALID_ARGUMENT', `archive names ${JSON.stringify(file)}, which is outside of it`);
  return join(directory, path);
}

/** By its first bytes: gzip, zstd or plain. */
async function guessMediaType(file: string): Promise<string> {
  for await (const chunk of createReadStream(file, { start: 0, end: 3 }) as AsyncIterable<Buffer>) {
    if (chunk[0] === 0x1f && chunk[1] === 0x8b) return 'application/vnd.oci.image.layer.v1.tar+gzip';
    if (chunk.readUInt32LE(0) === 0xfd2fb528) return 'application/vnd.oci.image.layer.v1.tar+zstd';
    break;
  }
  return 'application/vnd.oci.image.layer.v1.tar';
}
