import { join } from 'node:path';
import { type Clock, faultPoint, SerialRunner } from '../../async/index.ts';
import { syncFileSystem } from '../../host/files/index.ts';
import type { Logger } from '../../log/index.ts';
import { sha256 } from './digest.ts';
import { type Descriptor, readConfiguration, readManifest } from './image-documents.ts';
import { ImageError } from './image-error.ts';
import { ImageIndex, type ImageRecord } from './image-index.ts';
import { formatImageReference, type ImageReference, parseImageReference, repositoryName } from './image-reference.ts';
import { type ArchiveImage, readImageArchive, removeLeftovers } from './import-archive.ts';
import { findInheritedDirectories, type InheritedDirectory } from './inherited-directories.ts';
import { LayerStore } from './layer-store.ts';
import { RegistryClient } from './registry-client.ts';
import { type RegistryAuth, type RegistryConfig, registryEndpoints } from './registry-config.ts';
import { SharedPulls } from './shared-pulls.ts';

/** Where images are kept and how they are fetched. */
export interface ImageStoreOptions {
  /** Directory of the store. */
  root: string;
  registries?: readonly RegistryConfig[] | (() => readonly RegistryConfig[]);
  /** Layers of one image fetched at once. Default 3. */
  maxParallelLayers?: number;
  /** Largest layer, unpacked, bytes. Default 64 GiB. */
  maximumLayerBytes?: number;
  /** How long a registry may be silent in the middle of a layer, milliseconds. Default 60 s. */
  silenceMs?: number;
  /** Layers that mounted file systems stand on: they are kept, also when their image is removed. */
  layersInUse?: () => Promise<ReadonlySet<string>>;
  /** References that garbage collection must not remove. */
  pinned?: readonly string[];
  log: Logger;
  clock: Clock;
}

/** The images of a node. */
export interface ImageStore {
  /** Fetches an image unless its content is here; gives it. @throws ImageError */
  pull(reference: string, options?: { auth?: RegistryAuth; signal?: AbortSignal }): Promise<ImageRecord>;
  /** Finds an image by reference, digest reference, id or the beginning of an id. */
  status(reference: string): ImageRecord | undefined;
  list(): ImageRecord[];
  /** Removes an image with all its names; unknown ones are no error. */
  remove(reference: string): Promise<void>;
  /** Reads images from an OCI layout (directory or tar) or a docker-archive; gives those that were added. */
  importArchive(path: string, options?: { name?: string }): Promise<ImageRecord[]>;
  fsInfo(): Promise<{ usedBytes: number; inodesUsed: number; mountpoint: string }>;
  /** Directories of an image's layers, the topmost first. @throws ImageError NOT_FOUND */
  layerPaths(imageId: string): string[];
  /** Directories to which lower layers give owner and mode. @throws ImageError NOT_FOUND */
  inheritedDirectories(imageId: string): readonly InheritedDirectory[];
  /** Removes layers that no image and no mounted file system needs. */
  collect(): Promise<void>;
}

/** Opens the store, cleaning up what a crash left half done. */
export async function openImageStore(options: ImageStoreOptions): Promise<ImageStore> {
  const limits = { maximumBytes: options.maximumLayerBytes ?? 64 * 2 ** 30, maximumEntries: 5_000_000 };
  const [index, layers] = await Promise.all([
    ImageIndex.open(options.root),
    LayerStore.open(join(options.root, 'layers'), limits),
    removeLeftovers(options.root),
  ]);
  const store = new FileImageStore(options, index, layers);
  // Layers of a pull that did not come to its end: not known to be on the disk in full, so never used.
  await store.collect();
  return store;
}

class FileImageStore implements ImageStore {
  readonly #options: ImageStoreOptions;
  readonly #index: ImageIndex;
  readonly #layers: LayerStore;
  readonly #pulls = new SharedPulls<ImageRecord>();
  readonly #serial = new SerialRunner();
  readonly #inherited = new Map<string, readonly InheritedDirectory[]>();
  /** Layers of pulls under way: not to be collected. */
  readonly #wanted = new Map<symbol, readonly string[]>();

  constructor(options: ImageStoreOptions, index: ImageIndex, layers: LayerStore) {
    this.#options = options;
    this.#index = index;
    this.#layers = layers;
  }

  async pull(text: string, options: { auth?: RegistryAuth; signal?: AbortSignal } = {}): Promise<ImageRecord> {
    const reference = parseImageReference(text);
    const full = formatImageReference(reference);
    const key = `${full}\0${JSON.stringify(options.auth ?? null)}`;
    try {
      return await this.#pulls.run(key, (signal) => this.#pullAny(reference, options.auth, signal), options.signal);
    } catch (cause) {
      const error = ImageError.from(cause);
      throw new ImageError(error.code, `failed to pull and unpack image "${full}": ${error.message}`, { cause });
    }
  }

  status(text: string): ImageRecord | undefined {
    const known = this.#index.get(text) ?? this.#index.get(`sha256:${text}`);
    if (known) return known;
    if (/^[0-9a-f]{6,63}$/.test(text)) {
      const found = this.#index.list().filter(({ id }) => id.startsWith(`sha256:${text}`));
      if (found.length === 1) return found[0];
    }
    let reference: ImageReference;
    try {
      reference = parseImageReference(text);
    } catch {
      return undefined;
    }
    const name = formatImageReference(reference);
    return this.#index.list().find((image) => (reference.digest ? image.repoDigests : image.repoTags).includes(name));
  }

  list(): ImageRecord[] {
    return this.#index.list();
  }

  async remove(text: string): Promise<void> {
    const image = this.status(text);
    if (!image) return;
    await faultPoint('remove-image:begin');
    await this.#index.change((images) => images.delete(image.id));
    await faultPoint('remove-image:forgotten');
    this.#inherited.delete(image.id);
    await this.collect();
  }

  async importArchive(path: string, options: { name?: string } = {}): Promise<ImageRecord[]> {
    const added: ImageRecord[] = [];
    try {
      await readImageArchive(path, this.#options.root, async (image) => {
        added.push(await this.#importOne(image, options.name));
      });
    } catch (cause) {
      const error = ImageError.from(cause);
      throw new ImageError(error.code, `failed to import images from ${path}: ${error.message}`, { cause });
    }
    return added;
  }

  async fsInfo(): Promise<{ usedBytes: number; inodesUsed: number; mountpoint: string }> {
    const { bytes, inodes } = this.#layers.totalUsage();
    return { usedBytes: bytes, inodesUsed: inodes, mountpoint: this.#options.root };
  }

  layerPaths(imageId: string): string[] {
    const image = this.#index.get(imageId);
    if (!image) throw new ImageError('NOT_FOUND', `image ${imageId} not found`);
    return image.layers.map((diffId) => this.#layers.path(diffId)).reverse();
  }

  inheritedDirectories(imageId: string): readonly InheritedDirectory[] {
    const known = this.#inherited.get(imageId);
    if (known) return known;
    const layers = this.layerPaths(imageId);
    const implied = this.#index
      .get(imageId)!
      .layers.map((diffId) => this.#layers.implied(diffId))
      .reverse();
    const found = findInheritedDirectories(layers.map((directory, at) => ({ directory, implied: implied[at]! })));
    this.#inherited.set(imageId, found);
    return found;
  }

  collect(): Promise<void> {
    return this.#serial.run('collect', async () => {
      const named = this.#index.list().flatMap(({ layers }) => layers);
      const keep = new Set([...named, ...((await this.#options.layersInUse?.()) ?? [])]);
      await this.#layers.collect(
        (diffId) =>
          keep.has(diffId) ||
          [...this.#wanted.values()].some((layers) => layers.includes(diffId)) ||
          this.#index.list().some(({ layers }) => layers.includes(diffId)),
      );
    });
  }

  #registries(): readonly RegistryConfig[] {
    const { registries = [] } = this.#options;
    return typeof registries === 'function' ? registries() : registries;
  }

  /** Asks one server after another; the last one's failure is the pull's. */
  async #pullAny(reference: ImageReference, auth: RegistryAuth | undefined, signal: AbortSignal): Promise<ImageRecord> {
    const endpoints = registryEndpoints(reference.registry, this.#registries(), auth);
    let failure: unknown;
    for (const endpoint of endpoints) {
      const client = new RegistryClient(endpoint, reference.repository, this.#options.clock, this.#options);
      try {
        return await this.#pullFrom(client, reference, signal);
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        failure = error;
        this.#options.log.debug('registry refused', { server: endpoint.baseUrl, error });
      } finally {
        client.close();
      }
    }
    throw failure;
  }

  async #pullFrom(client: RegistryClient, reference: ImageReference, signal: AbortSignal): Promise<ImageRecord> {
    const full = formatImageReference(reference);
    const first = await client
      .manifest(reference.digest ?? reference.tag ?? 'latest', signal)
      .catch((cause: unknown) => {
        const error = ImageError.from(cause);
        const text = error.code === 'NOT_FOUND' ? `${full}: not found` : error.message;
        throw new ImageError(error.code, `failed to resolve reference "${full}": ${text}`, { cause });
      });
    const topDigest = sha256(first.body);
    let read = readManifest(first.body, first.mediaType);
    if ('chosen' in read) {
      const chosen = await client.manifest(read.chosen.digest, signal);
      read = readManifest(chosen.body, chosen.mediaType);
      if ('chosen' in read) throw new ImageError('INVALID_ARGUMENT', 'an index inside an index is not supported');
    }
    await faultPoint('pull-image:manifest');
    const { config, layers } = read.manifest;
    const known = this.#index.get(config.digest);
    const configuration =
      (known?.layers.length === layers.length ? known.configuration : undefined) ??
      readConfiguration(await client.document(config.digest, signal), layers.length);
    const diffIds = configuration.rootfs.diff_ids;
    return this.#keeping(diffIds, async () => {
      await this.#fetchLayers(layers, diffIds, signal, (layer, stop) => client.blob(layer.digest, layer.size, stop));
      await faultPoint('pull-image:layers');
      const size = config.size + layers.reduce((sum, layer) => sum + layer.size, 0);
      return this.#record({
        id: config.digest,
        layers: diffIds,
        size,
        configuration,
        reference,
        digest: reference.digest ?? topDigest,
      });
    });
  }

  /** Does something during which layers must not be collected; when it fails, those that it brought go again. */
  async #keeping<T>(diffIds: readonly string[], work: () => Promise<T>): Promise<T> {
    const mark = Symbol('wanted');
    this.#wanted.set(mark, diffIds);
    try {
      return await work();
    } catch (error) {
      this.#wanted.delete(mark);
      await this.collect();
      throw error;
    } finally {
      this.#wanted.delete(mark);
    }
  }

  /** Several layers at once; the first failure ends all, and what was begun has been cleaned up when it is reported. */
  async #fetchLayers(
    layers: Descriptor[],
    diffIds: string[],
    signal: AbortSignal,
    open: (layer: Descriptor, stop: AbortSignal) => AsyncIterable<Buffer>,
  ): Promise<void> {
    const todo = layers.map((layer, at) => ({ layer, diffId: diffIds[at]! }));
    const failed = new AbortController();
    const stop = AbortSignal.any([signal, failed.signal]);
    let failure: { error: unknown } | undefined;
    const worker = async (): Promise<void> => {
      for (let next = todo.shift(); next && !stop.aborted; next = todo.shift()) {
        const { layer, diffId } = next;
        await this.#layers
          .add(diffId, layer.mediaType, () => open(layer, stop))
          .catch((error: unknown) => {
            failure ??= { error };
            failed.abort(error);
          });
      }
    };
    await Promise.all(Array.from({ length: this.#options.maxParallelLayers ?? 3 }, worker));
    if (signal.aborted) throw signal.reason;
    if (failure) throw failure.error;
    // The layers must be on the disk before the index says so: a power cut leaves an image whole or not at all.
    if (diffIds.length > 0) await syncFileSystem(this.#options.root);
  }

  async #importOne(image: ArchiveImage, name: string | undefined): Promise<ImageRecord> {
    const configuration = readConfiguration(image.configuration, image.layers.length);
    const diffIds = configuration.rootfs.diff_ids;
    const references = (name ? [name] : image.names).map((one) => parseImageReference(one));
    return this.#keeping(diffIds, async () => {
      for (const [at, { mediaType, open }] of image.layers.entries())
        await this.#layers.add(diffIds[at]!, mediaType, open);
      await syncFileSystem(this.#options.root);
      let record: ImageRecord | undefined;
      const base = { id: sha256(image.configuration), layers: diffIds, size: image.size, configuration };
      for (const reference of references)
        record = await this.#record({
          ...base,
          reference,
          ...(image.manifestDigest ? { digest: image.manifestDigest } : {}),
        });
      return record ?? this.#record(base);
    });
  }

  /** Adds an image or its further name; a name belongs to the image that had it last. */
  async #record(
    image: Pick<ImageRecord, 'id' | 'layers' | 'size' | 'configuration'> & {
      reference?: ImageReference;
      digest?: string;
    },
  ): Promise<ImageRecord> {
    const { id, layers, size, configuration, reference, digest } = image;
    // With both given the digest was asked for; that the tag stands for it was never checked.
    const tag = reference?.tag && !reference.digest ? `${repositoryName(reference)}:${reference.tag}` : undefined;
    const digestName = reference && digest ? `${repositoryName(reference)}@${digest}` : undefined;
    const names = [tag, digestName].filter((one) => one !== undefined);
    const pinned = names.some((one) => this.#options.pinned?.includes(one));
    await this.#index.change((images) => {
      for (const other of images.values()) {
        if (other.id !== id && tag && other.repoTags.includes(tag))
          images.set(other.id, { ...other, repoTags: other.repoTags.filter((one) => one !== tag) });
      }
      const before = images.get(id);
      images.set(id, {
        id,
        layers,
        size,
        configuration,
        repoTags: [...new Set([...(before?.repoTags ?? []), ...(tag ? [tag] : [])])],
        repoDigests: [...new Set([...(before?.repoDigests ?? []), ...(digestName ? [digestName] : [])])],
        pinned: before?.pinned || pinned,
      });
    });
    await faultPoint('pull-image:recorded');
    return this.#index.get(id)!;
  }
}
