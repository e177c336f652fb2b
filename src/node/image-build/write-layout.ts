import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, mkdir, open, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { FileSet } from './host-programs.ts';
import type { ImageContents } from './proxy-contents.ts';
import { type TarEntry, writeTar } from './tar.ts';

/** Media types of the OCI image specification 1.1. */
export const mediaTypes = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
  packedLayer: 'application/vnd.oci.image.layer.v1.tar+gzip',
} as const;

/** A blob of a layout that has been written. */
export interface Blob {
  mediaType: string;
  digest: string;
  size: number;
}

/** An image as a layout has it. */
export interface WrittenImage {
  /** Digest of its configuration: the image's id, whether layers are packed or not. */
  id: string;
  manifest: Blob;
  config: Blob;
  layers: (Blob & { name: string; diffId: string; unpackedBytes: number })[];
}

/** What an image is to say of itself. */
export interface ImageLabels {
  name: string;
  labels: Record<string, string>;
}

/**
 * Writes an image into a directory, as an OCI image layout. Layers pass through in pieces. The same contents give the same
 * digests. @param pack compress layers, as registries want them; a runtime on this machine takes them as they are
 */
export async function writeLayout(
  directory: string,
  contents: ImageContents,
  about: ImageLabels,
  pack: boolean,
): Promise<WrittenImage> {
  await mkdir(join(directory, 'blobs/sha256'), { recursive: true });
  const layers: WrittenImage['layers'] = [];
  for (const { name, files } of contents.layers) layers.push({ name, ...(await writeLayer(directory, files, pack)) });
  const config = await writeDocument(directory, mediaTypes.config, configurationOf(contents, about, layers));
  const manifest = await writeDocument(directory, mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config,
    layers: layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
    annotations: about.labels,
  });
  await writeFile(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(join(directory, 'index.json'), JSON.stringify(indexOf(manifest, about.name)));
  return { id: config.digest, manifest, config, layers };
}

/** A name as containerd and Docker look for it, and its tag as the specification has it. */
function indexOf(manifest: Blob, name: string): object {
  const annotations = {
    'io.containerd.image.name': name,
    'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1),
  };
  return { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [{ ...manifest, annotations }] };
}

function configurationOf(contents: ImageContents, { labels }: ImageLabels, layers: WrittenImage['layers']): object {
  const architectures: Record<string, string> = { x64: 'amd64', arm64: 'arm64' };
  // Of no date: an image of the same contents is the same image.
  const created = new Date(0).toISOString();
  return {
    architecture: architectures[process.arch] ?? process.arch,
    os: 'linux',
    created,
    config: {
      Env: contents.environment,
      Entrypoint: contents.entrypoint,
      WorkingDir: '/',
      Labels: labels,
    },
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    history: layers.map(({ name }) => ({ created, created_by: `deckhand image build: ${name}` })),
  };
}

/** Entries in order, each behind the directories it is in. */
export function orderEntries(files: FileSet): TarEntry[] {
  const all = new Map(files);
  for (const path of files.keys())
    for (let at = dirname(path); at !== '.'; at = dirname(at))
      if (!all.has(at)) all.set(at, { path: at, mode: 0o755, kind: 'directory' });
  return [...all.values()].sort((one, other) => (one.path < other.path ? -1 : 1));
}

async function writeLayer(
  directory: string,
  files: FileSet,
  pack: boolean,
): Promise<Blob & { diffId: string; unpackedBytes: number }> {
  const unpacked = createHash('sha256');
  let unpackedBytes = 0;
  async function* content(): AsyncGenerator<Buffer> {
    for await (const piece of writeTar(orderEntries(files))) {
      unpacked.update(piece);
      unpackedBytes += piece.length;
      yield piece;
    }
  }
  const blob = await writeBlob(
    directory,
    pack ? mediaTypes.packedLayer : mediaTypes.layer,
    pack ? compressed(content()) : content(),
  );
  return { ...blob, diffId: `sha256:${unpacked.digest('hex')}`, unpackedBytes };
}

/** Packs pieces with gzip. An error of the pieces is one of the result. */
async function* compressed(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const gzip = createGzip({ level: 6 });
  const packing = pipeline(Readable.from(pieces), gzip).catch((error: unknown) => gzip.destroy(error as Error));
  for await (const piece of gzip) yield piece as Buffer;
  await packing;
}

/** Writes a blob under a name that is known only when it is whole. */
async function writeBlob(directory: string, mediaType: string, pieces: AsyncIterable<Buffer>): Promise<Blob> {
  const partial = join(directory, 'partial');
  const file = await open(partial, 'w', 0o644);
  const hash = createHash('sha256');
  let size = 0;
  try {
    for await (const piece of pieces) {
      await writePiece(file, piece, hash);
      size += piece.length;
    }
  } finally {
    await file.close();
  }
  const digest = hash.digest('hex');
  await rename(partial, join(directory, 'blobs/sha256', digest));
  return { mediaType, digest: `sha256:${digest}`, size };
}

async function writePiece(file: FileHandle, piece: Buffer, hash: Hash): Promise<void> {
  hash.update(piece);
  await file.writeFile(piece);
}

async function writeDocument(directory: string, mediaType: string, document: object): Promise<Blob> {
  const bytes = Buffer.from(JSON.stringify(document));
  async function* once(): AsyncGenerator<Buffer> {
    yield bytes;
  }
  return writeBlob(directory, mediaType, once());
}

async function writeFile(path: string, text: string): Promise<void> {
  const file = await open(path, 'w', 0o644);
  try {
    await file.writeFile(text);
  } finally {
    await file.close();
  }
}
