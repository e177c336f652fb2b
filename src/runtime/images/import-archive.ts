import { createReadStream } from 'node:fs';
import { mkdtemp, readFile, realpath, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { decompress } from './decompress.ts';
import { checkDigest, hashFor, sha256 } from './digest.ts';
import { packedSize, readImage } from './fetch-image.ts';
import { type Descriptor, type ImageConfiguration, isDescriptor, readConfiguration } from './image-documents.ts';
import { ImageError } from './image-error.ts';
import type { Platform } from './image-platform.ts';
import { temporaryPrefix } from './import-leftovers.ts';
import type { LayerSource } from './layer-store.ts';
import { unpackLayer } from './unpack-layer.ts';

/** An image found in an archive. */
export interface ArchiveImage {
  names: string[];
  id: string;
  /** Its configuration to the byte, and what that says. */
  document: Buffer;
  configuration: ImageConfiguration;
  layers: LayerSource[];
  /** Digest of its manifest, when the archive has one. */
  manifestDigest?: string;
  size: number;
}

/** What is to be read. */
export interface ArchiveRequest {
  path: string;
  /** A tar is unpacked below this directory for as long as reading takes. */
  temporary: string;
  machine: Platform;
}

interface SavedImage {
  Config: string;
  RepoTags?: string[] | null;
  Layers: string[];
}

/** Beginning of the names of directories into which archives are unpacked for a while. */
/** Largest document that is read, bytes. */
const longestDocument = 8 * 1024 * 1024;
const plainLayer = 'application/vnd.oci.image.layer.v1.tar';

/**
 * Reads an OCI image layout (a directory or a tar of one, packed or not) or a docker-archive (`docker save`) and hands
 * each image to `use`. @throws ImageError when it is neither
 */
export async function readImageArchive(
  request: ArchiveRequest,
  use: (image: ArchiveImage) => Promise<void>,
): Promise<void> {
  const { path, temporary } = request;
  const info = await stat(path).catch((cause: unknown) => {
    throw new ImageError('NOT_FOUND', `cannot read ${path}`, { cause });
  });
  if (info.isDirectory()) return readDirectory(request, await realpath(path), use);
  const unpacked = await realpath(await mkdtemp(join(temporary, temporaryPrefix)));
  try {
    // Packed or not: its first bytes say.
    const archive = decompress(readFileInPieces(path), 'none');
    await unpackLayer(archive, unpacked, { maximumBytes: 2 ** 40, maximumEntries: 1_000_000 });
    await readDirectory(request, unpacked, use);
  } finally {
    await rm(unpacked, { recursive: true, force: true });
  }
}

async function readDirectory(
  request: ArchiveRequest,
  directory: string,
  use: (image: ArchiveImage) => Promise<void>,
): Promise<void> {
  const saved = await readJson<SavedImage[]>(directory, 'manifest.json');
  const index = await readJson<{ manifests?: unknown } | null>(directory, 'index.json');
  const manifests = Array.isArray(index?.manifests) ? (index.manifests as Descriptor[]) : undefined;
  // What `docker save` writes today is both. The layout has digests too, the list has the names for sure.
  if (saved && !manifests?.every((one) => nameOf(one))) {
    if (!Array.isArray(saved) || !saved.every(isSavedImage))
      throw new ImageError('DATA_LOSS', 'manifest.json is no list of images with Config and Layers');
    for (const image of saved) await use(await dockerImage(directory, image));
    return;
  }
  if (!manifests)
    throw new ImageError(
      'INVALID_ARGUMENT',
      `${request.path} is neither an OCI image layout (no index.json) nor a docker-archive (no manifest.json)`,
    );
  for (const descriptor of manifests) await use(await layoutImage(directory, descriptor, request.machine));
}

async function readJson<T>(directory: string, file: string): Promise<T | undefined> {
  const found = await stat(join(directory, file)).catch(() => undefined);
  if (!found?.isFile()) return undefined;
  try {
    return JSON.parse((await readDocument(await inside(directory, file))).toString()) as T;
  } catch (cause) {
    if (cause instanceof ImageError) throw cause;
    throw new ImageError('DATA_LOSS', `${file} is not JSON`, { cause });
  }
}

async function readDocument(file: string): Promise<Buffer> {
  const { size } = await stat(file);
  if (size > longestDocument) throw new ImageError('RESOURCE_EXHAUSTED', `document of ${size} bytes is too long`);
  return readFile(file);
}

async function dockerImage(directory: string, image: SavedImage): Promise<ArchiveImage> {
  const document = await readDocument(await inside(directory, image.Config));
  const configuration = readConfiguration(document, image.Layers.length);
  const layers = await Promise.all(
    image.Layers.map(async (layer, at): Promise<LayerSource> => {
      const file = await inside(directory, layer);
      const { size } = await stat(file);
      const diffId = configuration.rootfs.diff_ids[at]!;
      return { diffId, size, mediaType: plainLayer, open: () => readFileInPieces(file) };
    }),
  );
  return {
    names: image.RepoTags ?? [],
    id: sha256(document),
    document,
    configuration,
    layers,
    size: document.length + layers.reduce((sum, { size }) => sum + size, 0),
  };
}

async function layoutImage(directory: string, descriptor: Descriptor, machine: Platform): Promise<ArchiveImage> {
  if (!isDescriptor(descriptor)) throw new ImageError('DATA_LOSS', 'index.json names something without a digest');
  const blob = (digest: string) => inside(directory, join('blobs', ...digest.split(':')));
  const document = async (digest: string): Promise<Buffer> => {
    const hash = hashFor(digest);
    const body = await readDocument(await blob(digest));
    checkDigest(hash.update(body), digest, `blob ${digest}`);
    return body;
  };
  const manifest = async (digest: string) => ({ body: await document(digest), mediaType: '' });
  const first = { body: await document(descriptor.digest), mediaType: descriptor.mediaType };
  const image = await readImage(first, { manifest, document }, machine);
  const layers = image.manifest.layers.map(({ digest, mediaType, size }, at): LayerSource => {
    const diffId = image.configuration.rootfs.diff_ids[at]!;
    return { diffId, mediaType, size, open: () => readBlob(() => blob(digest), digest) };
  });
  const name = nameOf(descriptor);
  return {
    names: name ? [name] : [],
    id: image.id,
    document: image.document,
    configuration: image.configuration,
    layers,
    manifestDigest: descriptor.digest,
    size: packedSize(image.manifest),
  };
}

/** The name that an image has in an index, if that is a whole one: a tag says nothing without a repository. */
function nameOf({ annotations }: Descriptor): string | undefined {
  const names = [annotations?.['io.containerd.image.name'], annotations?.['org.opencontainers.image.ref.name']];
  return names.find((one) => typeof one === 'string' && /[/:]/.test(one));
}

function isSavedImage(value: unknown): boolean {
  const { Config, RepoTags, Layers } = (value ?? {}) as Record<string, unknown>;
  const isTexts = (list: unknown) => Array.isArray(list) && list.every((one) => typeof one === 'string');
  return (
    typeof Config === 'string' && isTexts(Layers) && (RepoTags === undefined || RepoTags === null || isTexts(RepoTags))
  );
}

async function* readBlob(find: () => Promise<string>, digest: string): AsyncIterable<Buffer> {
  const hash = hashFor(digest);
  for await (const piece of readFileInPieces(await find())) {
    hash.update(piece);
    yield piece;
  }
  checkDigest(hash, digest, `blob ${digest}`);
}

function readFileInPieces(file: string): AsyncIterable<Buffer> {
  return createReadStream(file, { highWaterMark: 1 << 20 });
}

/** The file that the archive's directory has under a name, links resolved. @throws ImageError for one that leaves it */
async function inside(directory: string, file: string): Promise<string> {
  const path = await realpath(join(directory, file)).catch((cause: unknown) => {
    throw new ImageError('DATA_LOSS', `archive has no ${JSON.stringify(file)}, which it names`, { cause });
  });
  if (!path.startsWith(`${directory}/`))
    throw new ImageError('INVALID_ARGUMENT', `archive names ${JSON.stringify(file)}, which is outside of it`);
  // Opening a FIFO would wait for ever.
  if (!(await stat(path)).isFile())
    throw new ImageError('INVALID_ARGUMENT', `archive names ${JSON.stringify(file)}, which is no file`);
  return path;
}
