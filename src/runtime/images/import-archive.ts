import { createReadStream } from 'node:fs';
import { mkdtemp, readdir, readFile, realpath, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { checkDigest, hashFor, sha256 } from './digest.ts';
import { type Descriptor, isDescriptor, readManifest } from './image-documents.ts';
import { ImageError } from './image-error.ts';
import { decompress } from './layer-store.ts';
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

/** Beginning of the names of directories into which archives are unpacked for a while. */
const temporaryPrefix = '.import-';

/** Removes what imports that did not come to their end have left in a directory. */
export async function removeLeftovers(directory: string): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  for (const name of names.filter((one) => one.startsWith(temporaryPrefix)))
    await rm(join(directory, name), { recursive: true, force: true });
}

/**
 * Reads an OCI image layout (a directory or a tar of one, packed or not) or a docker-archive (`docker save`) and hands
 * each image to `use`. A tar is unpacked below `temporary` for as long as that takes. @throws ImageError when it is neither
 */
export async function readImageArchive(
  path: string,
  temporary: string,
  use: (image: ArchiveImage) => Promise<void>,
): Promise<void> {
  const info = await stat(path).catch((cause: unknown) => {
    throw new ImageError('NOT_FOUND', `cannot read ${path}`, { cause });
  });
  if (info.isDirectory()) return readDirectory(path, await realpath(path), use);
  const unpacked = await realpath(await mkdtemp(join(temporary, temporaryPrefix)));
  try {
    const archive = decompress(readFileInPieces(path), await guessMediaType(path));
    await unpackLayer(archive, unpacked, { maximumBytes: 2 ** 40, maximumEntries: 1_000_000 });
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
    const text = await readFile(join(directory, file), 'utf8').catch(() => undefined);
    if (text === undefined) return undefined;
    try {
      return JSON.parse(text) as T;
    } catch (cause) {
      throw new ImageError('DATA_LOSS', `${file} is not JSON`, { cause });
    }
  };
  // What `docker save` writes today is both; its own list has the names.
  const saved = await json<{ Config: string; RepoTags: string[] | null; Layers: string[] }[]>('manifest.json');
  if (saved) {
    if (!Array.isArray(saved) || !saved.every(isSavedImage))
      throw new ImageError('DATA_LOSS', 'manifest.json is no list of images with Config and Layers');
    for (const image of saved) await use(await dockerImage(directory, image));
    return;
  }
  const index = await json<{ manifests: Descriptor[] } | null>('index.json');
  if (!Array.isArray(index?.manifests))
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
  const configuration = await readFile(await inside(directory, image.Config));
  const layers = await Promise.all(
    image.Layers.map(async (layer) => {
      const file = await inside(directory, layer);
      return {
        mediaType: await guessMediaType(file),
        open: () => readFileInPieces(file),
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
  const document = async (digest: string): Promise<Buffer> => {
    const hash = hashFor(digest);
    const body = await readFile(await blob(digest));
    checkDigest(hash.update(body), digest, `blob ${digest}`);
    return body;
  };
  if (!isDescriptor(descriptor)) throw new ImageError('DATA_LOSS', 'index.json names something without a digest');
  const body = await document(descriptor.digest);
  let read = readManifest(body, descriptor.mediaType);
  if ('chosen' in read) read = readManifest(await document(read.chosen.digest), read.chosen.mediaType);
  if ('chosen' in read) throw new ImageError('INVALID_ARGUMENT', 'an index inside an index is not supported');
  const { config, layers } = read.manifest;
  const name =
    descriptor.annotations?.['io.containerd.image.name'] ??
    // Tools write a whole name here or only a tag, which says nothing without a repository.
    [descriptor.annotations?.['org.opencontainers.image.ref.name']].find((one) => one && /[/:]/.test(one));
  return {
    names: name ? [name] : [],
    configuration: await document(config.digest),
    layers: layers.map((layer) => ({
      mediaType: layer.mediaType,
      async *open() {
        yield* readFileInPieces(await blob(layer.digest));
      },
    })),
    manifestDigest: sha256(body),
    size: config.size + layers.reduce((sum, { size }) => sum + size, 0),
  };
}

function isSavedImage(value: unknown): boolean {
  const { Config, RepoTags, Layers } = (value ?? {}) as Record<string, unknown>;
  const isTexts = (list: unknown) => Array.isArray(list) && list.every((one) => typeof one === 'string');
  return (
    typeof Config === 'string' && isTexts(Layers) && (RepoTags === undefined || RepoTags === null || isTexts(RepoTags))
  );
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
  return path;
}

/** By its first bytes: gzip, zstd or plain. */
async function guessMediaType(file: string): Promise<string> {
  for await (const chunk of createReadStream(file, { start: 0, end: 3 }) as AsyncIterable<Buffer>) {
    if (chunk[0] === 0x1f && chunk[1] === 0x8b) return 'application/vnd.oci.image.layer.v1.tar+gzip';
    if (chunk.length >= 4 && chunk.readUInt32LE(0) === 0xfd2fb528) return 'application/vnd.oci.image.layer.v1.tar+zstd';
    break;
  }
  return 'application/vnd.oci.image.layer.v1.tar';
}
