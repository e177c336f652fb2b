import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { checkDigest, hashFor, sha256 } from './digest.ts';
import { ImageError } from './image-error.ts';
import type { ImageIndex, ImageRecord } from './image-index.ts';
import type { LayerStore } from './layer-store.ts';
import { block } from './tar-header.ts';
import { fileHeader } from './tar-writer.ts';

/** `oci`: an image layout that `docker load` reads too. `docker`: what `docker save` wrote for years. */
export type ArchiveFormat = 'oci' | 'docker';

/** What is to be written. */
export interface ExportRequest {
  path: string;
  images: readonly { image: ImageRecord; names: readonly string[] }[];
  format: ArchiveFormat;
  index: ImageIndex;
  layers: LayerStore;
}

const types = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
};

/**
 * Writes images to a tar file, which appears when it is whole. Configurations and layers are as they came, to the byte,
 * so image ids and diff ids stay; layers are written unpacked, so an OCI manifest is made anew and has another digest
 * than in the registry. @throws ImageError when a layer is no longer as it was
 */
export async function exportImages(request: ExportRequest): Promise<void> {
  const partial = `${request.path}.partial`;
  const file = await open(partial, 'w', 0o600).catch((cause: Error) => {
    throw new ImageError('INVALID_ARGUMENT', `cannot write ${request.path}: ${cause.message}`, { cause });
  });
  try {
    await (request.format === 'oci'
      ? writeLayout(request, new ArchiveWriter(file))
      : writeSaved(request, new ArchiveWriter(file)));
    await file.sync();
    await file.close();
    await rename(partial, request.path);
  } catch (cause) {
    await file.close().catch(() => {});
    await rm(partial, { force: true });
    const error = ImageError.from(cause);
    throw new ImageError(error.code, `failed to export to ${request.path}: ${error.message}`, { cause });
  }
}

async function writeLayout(request: ExportRequest, archive: ArchiveWriter): Promise<void> {
  const { images, index, layers } = request;
  const manifests: object[] = [];
  const saved: object[] = [];
  await archive.add('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}'));
  for (const { image, names } of images) {
    const configuration = await index.configuration(image.id);
    await archive.add(blobPath(image.id), configuration);
    for (const diffId of image.layers)
      await archive.addLayer(blobPath(diffId), diffId, layers.usage(diffId).archiveBytes, layers.archive(diffId));
    const manifest = Buffer.from(JSON.stringify(manifestOf(image, configuration.length, layers)));
    const digest = sha256(manifest);
    await archive.add(blobPath(digest), manifest);
    for (const name of names.length > 0 ? names : [undefined])
      manifests.push({
        mediaType: types.manifest,
        digest,
        size: manifest.length,
        ...(name ? { annotations: namesOf(name) } : {}),
      });
    saved.push({ Config: blobPath(image.id), RepoTags: names, Layers: image.layers.map(blobPath) });
  }
  await archive.add('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: types.index, manifests })));
  await archive.add('manifest.json', Buffer.from(JSON.stringify(saved)));
  await archive.end();
}

function manifestOf(image: ImageRecord, configurationBytes: number, layers: LayerStore): object {
  return {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: { mediaType: types.config, digest: image.id, size: configurationBytes },
    layers: image.layers.map((diffId) => ({
      mediaType: types.layer,
      digest: diffId,
      size: layers.usage(diffId).archiveBytes,
    })),
  };
}

/** A name as containerd and Docker look for it, and its tag as the specification has it. */
function namesOf(name: string): Record<string, string> {
  return {
    'io.containerd.image.name': name,
    'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1),
  };
}

async function writeSaved(request: ExportRequest, archive: ArchiveWriter): Promise<void> {
  const { images, index, layers } = request;
  const saved: object[] = [];
  for (const { image, names } of images) {
    const config = `${hexOf(image.id)}.json`;
    await archive.add(config, await index.configuration(image.id));
    const files = image.layers.map((diffId) => `${hexOf(diffId)}/layer.tar`);
    for (const [at, diffId] of image.layers.entries())
      await archive.addLayer(files[at]!, diffId, layers.usage(diffId).archiveBytes, layers.archive(diffId));
    saved.push({ Config: config, RepoTags: names, Layers: files });
  }
  await archive.add('manifest.json', Buffer.from(JSON.stringify(saved)));
  await archive.end();
}

function hexOf(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1);
}

function blobPath(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`;
}

/** A tar file that is being written; each name goes into it once. */
class ArchiveWriter {
  readonly #file: FileHandle;
  readonly #names = new Set<string>();

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async add(name: string, content: Buffer): Promise<void> {
    if (this.#names.has(name)) return;
    this.#names.add(name);
    await this.#file.writeFile(Buffer.concat([fileHeader(name, content.length), content, padding(content.length)]));
  }

  async addLayer(name: string, diffId: string, bytes: number, content: AsyncIterable<Buffer>): Promise<void> {
    if (this.#names.has(name)) return;
    this.#names.add(name);
    await this.#file.writeFile(fileHeader(name, bytes));
    const hash = hashFor(diffId);
    let written = 0;
    for await (const piece of content) {
      hash.update(piece);
      written += piece.length;
      await this.#file.writeFile(piece);
    }
    checkDigest(hash, diffId, `layer ${diffId} is no longer as it was`);
    if (written !== bytes)
      throw new ImageError('DATA_LOSS', `layer ${diffId} has ${written} bytes in place of ${bytes}`);
    await this.#file.writeFile(padding(bytes));
  }

  async end(): Promise<void> {
    await this.#file.writeFile(Buffer.alloc(2 * block));
  }
}

function padding(length: number): Buffer {
  return Buffer.alloc((block - (length % block)) % block);
}
