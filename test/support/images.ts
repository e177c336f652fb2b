import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { type ArchiveEntry, writeTar } from '../../src/runtime/images/testing/write-tar.ts';

export { type ArchiveEntry, writeTar };

/** Whose names media types have. */
export type ImageFamily = 'oci' | 'docker';

/** A layer, packed and not. */
export interface TestLayer {
  archive: Buffer;
  blob: Buffer;
  mediaType: string;
  /** Digest of the archive. */
  diffId: string;
  /** Digest of the blob. */
  digest: string;
}

/** A manifest or an index with all that it names. */
export interface TestImage {
  /** The manifest, or the index. */
  document: Buffer;
  mediaType: string;
  digest: string;
  /** By digest: configurations, layers, and the manifests of an index. */
  blobs: Map<string, Buffer>;
  /** Media types of the manifests of an index, by digest. */
  manifests: Map<string, string>;
  /** Digest of the configuration; empty for an index. */
  id: string;
  configuration: Buffer;
  layers: readonly TestLayer[];
}

/** `sha256:…` */
export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

const layerTypes = {
  oci: {
    gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
    zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
    none: 'application/vnd.oci.image.layer.v1.tar',
  },
  docker: {
    gzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
    zstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
    none: 'application/vnd.docker.image.rootfs.diff.tar',
  },
} as const;

/** Packs entries as a layer. */
export function makeLayer(
  entries: readonly ArchiveEntry[] | Buffer,
  options: { compression?: 'gzip' | 'zstd' | 'none'; family?: ImageFamily; level?: number } = {},
): TestLayer {
  const archive = Buffer.isBuffer(entries) ? entries : writeTar(entries as readonly ArchiveEntry[]);
  const compression = options.compression ?? 'gzip';
  const blob =
    compression === 'gzip'
      ? gzipSync(archive, { level: options.level ?? 1 })
      : compression === 'zstd'
        ? zstdCompressSync(archive)
        : archive;
  const mediaType = layerTypes[options.family ?? 'oci'][compression];
  return { archive, blob, mediaType, diffId: digestOf(archive), digest: digestOf(blob) };
}

/** Makes an image of layers, the lowest first. `config` is what the image configuration has under that name. */
export function makeImage(
  layers: readonly TestLayer[],
  options: { config?: object; family?: ImageFamily; architecture?: string } = {},
): TestImage {
  const docker = options.family === 'docker';
  const configuration = Buffer.from(
    JSON.stringify({
      architecture: options.architecture ?? machine,
      os: 'linux',
      config: options.config ?? {},
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    }),
  );
  const id = digestOf(configuration);
  const mediaType = docker
    ? 'application/vnd.docker.distribution.manifest.v2+json'
    : 'application/vnd.oci.image.manifest.v1+json';
  const document = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      config: {
        mediaType: docker
          ? 'application/vnd.docker.container.image.v1+json'
          : 'application/vnd.oci.image.config.v1+json',
        digest: id,
        size: configuration.length,
      },
      layers: layers.map((layer) => ({ mediaType: layer.mediaType, digest: layer.digest, size: layer.blob.length })),
    }),
  );
  const blobs = new Map(layers.map(({ digest, blob }) => [digest, blob]));
  blobs.set(id, configuration);
  return { document, mediaType, digest: digestOf(document), blobs, manifests: new Map(), id, configuration, layers };
}

/** This machine, as images name it. */
export const machine = process.arch === 'arm64' ? 'arm64' : 'amd64';

/** Makes an index of images for several architectures. */
export function makeIndex(
  images: readonly { image: TestImage; architecture: string; variant?: string; os?: string }[],
  family: ImageFamily = 'oci',
): TestImage {
  const mediaType =
    family === 'docker'
      ? 'application/vnd.docker.distribution.manifest.list.v2+json'
      : 'application/vnd.oci.image.index.v1+json';
  const document = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      manifests: images.map(({ image, architecture, variant, os }) => ({
        mediaType: image.mediaType,
        digest: image.digest,
        size: image.document.length,
        platform: { os: os ?? 'linux', architecture, ...(variant ? { variant } : {}) },
      })),
    }),
  );
  const blobs = new Map(images.flatMap(({ image }) => [...image.blobs]));
  const manifests = new Map<string, string>();
  for (const { image } of images) {
    blobs.set(image.digest, image.document);
    manifests.set(image.digest, image.mediaType);
  }
  const empty = { id: '', configuration: Buffer.alloc(0), layers: [] };
  return { document, mediaType, digest: digestOf(document), blobs, manifests, ...empty };
}

/** The files of an OCI image layout, as paths and contents. Names go into `org.opencontainers.image.ref.name`. */
export function layoutFiles(images: readonly { image: TestImage; name?: string }[]): Map<string, Buffer> {
  const files = new Map<string, Buffer>([['oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}')]]);
  const manifests = images.map(({ image, name }) => ({
    mediaType: image.mediaType,
    digest: image.digest,
    size: image.document.length,
    ...(name ? { annotations: { 'org.opencontainers.image.ref.name': name } } : {}),
  }));
  files.set('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, manifests })));
  for (const { image } of images) {
    for (const [digest, blob] of image.blobs) files.set(join('blobs', ...digest.split(':')), blob);
    files.set(join('blobs', ...image.digest.split(':')), image.document);
  }
  return files;
}

/** The files of a docker-archive, as `docker save` wrote them for years. */
export function dockerArchiveFiles(images: readonly { image: TestImage; names: string[] }[]): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  const list = images.map(({ image, names }) => {
    const config = `${image.id.slice(7)}.json`;
    files.set(config, image.configuration);
    const layers = image.layers.map(({ archive, diffId }) => {
      files.set(`${diffId.slice(7)}/layer.tar`, archive);
      return `${diffId.slice(7)}/layer.tar`;
    });
    return { Config: config, RepoTags: names, Layers: layers };
  });
  return files.set('manifest.json', Buffer.from(JSON.stringify(list)));
}

/** Files as a tar archive. */
export function packFiles(files: ReadonlyMap<string, Buffer>): Buffer {
  return writeTar([...files].map(([path, content]) => ({ path, content })));
}

/** Files as a directory. */
export async function writeFiles(directory: string, files: ReadonlyMap<string, Buffer>): Promise<void> {
  for (const [path, content] of files) {
    await mkdir(join(directory, path, '..'), { recursive: true });
    await writeFile(join(directory, path), content);
  }
}

/** A root file system of Debian's busybox-static, its applets as symbolic links. */
export async function busyboxEntries(
  applets: readonly string[],
  more: readonly ArchiveEntry[] = [],
): Promise<ArchiveEntry[]> {
  return [
    ...['bin/', 'etc/', 'root/', 'proc/', 'sys/', 'dev/'].map((path) => ({ path })),
    { path: 'tmp/', mode: 0o1777 },
    { path: 'bin/busybox', mode: 0o755, content: await readFile('/bin/busybox') },
    ...applets.map((name) => ({ path: `bin/${name}`, mode: 0o777, linkPath: 'busybox' })),
    { path: 'etc/passwd', content: 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' },
    { path: 'etc/group', content: 'root:x:0:\nnogroup:x:65534:\n' },
    ...more,
  ];
}

/** A dynamic program of this machine with the libraries that it needs, for an image. */
export async function programEntries(program: string, path: string): Promise<ArchiveEntry[]> {
  const { stdout } = await promisify(execFile)('ldd', [program]);
  const libraries = [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, library]) => library!);
  const files = await Promise.all(
    [...new Set(libraries)].map(async (library) => ({
      path: library.slice(1),
      mode: 0o755,
      content: await readFile(library),
    })),
  );
  const directories = new Set(files.map((file) => `${file.path.slice(0, file.path.lastIndexOf('/'))}/`));
  return [
    ...[...directories].map((directory) => ({ path: directory })),
    ...files,
    { path, mode: 0o755, content: await readFile(program) },
  ];
}
