import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { faultPoint, SerialRunner } from '../../async/index.ts';
import { syncFileSystem } from '../../host/files/index.ts';
import { Threads } from '../../host/threads/index.ts';
import type { StoreFinding } from './check-store.ts';
import type { ArchiveFormat } from './export-archive.ts';
import { ImageError } from './image-error.ts';
import { ImageIndex, type ImageRecord } from './image-index.ts';
import { findImage, recordImage } from './image-names.ts';
import { thisPlatform } from './image-platform.ts';
import { formatImageReference, type ImageReference, parseImageReference } from './image-reference.ts';
import type { ImageStoreOptions } from './image-store-options.ts';
import type { ArchiveImage } from './import-archive.ts';
import { removeLeftovers } from './import-leftovers.ts';
import { findInheritedDirectories, type InheritedDirectory } from './inherited-directories.ts';
import { type LayerSource, LayerStore } from './layer-store.ts';
import { fitsPattern } from './pinned.ts';
import { PullDeadline } from './pull-deadline.ts';
import type { EndpointReport, PullKit } from './pull-image.ts';
import { Registries } from './registries/registries.ts';
import type { RegistryAuth } from './registries/registry-config.ts';
import { SharedPulls } from './shared-pulls.ts';

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
  /** Writes images to a file, under their own ids. @throws ImageError */
  exportArchive(path: string, references: readonly string[], format: ArchiveFormat): Promise<void>;
  fsInfo(): Promise<{ usedBytes: number; inodesUsed: number; mountpoint: string }>;
  /** Directories of an image's layers, the topmost first. @throws ImageError NOT_FOUND */
  layerPaths(imageId: string): string[];
  /** Directories to which lower layers give owner and mode. @throws ImageError NOT_FOUND */
  inheritedDirectories(imageId: string): readonly InheritedDirectory[];
  /** Removes layers that no image and no mounted file system needs; gives what became free. */
  collect(): Promise<{ layers: number; bytes: number }>;
  /** What each layer of an image takes on disk, the lowest first. */
  layerUsage(imageId: string): { diffId: string; bytes: number; inodes: number }[];
  /** Looks for what does not belong to the store, or is not as it was. Deep: reads every file. */
  check(options?: { deep?: boolean }): Promise<StoreFinding[]>;
  /** Which servers would be asked for an image, and what they answer. */
  explain(reference: string, signal?: AbortSignal): Promise<EndpointReport[]>;
  /** Waits for work in the background and ends the store's threads. */
  close(): Promise<void>;
}

/** Opens the store, cleaning up what a crash left half done. @throws Error for wrong configuration of registries */
export async function openImageStore(options: ImageStoreOptions): Promise<ImageStore> {
  const { root, log, clock, pinned = [], registries: given = [] } = options;
  const limits = {
    maximumBytes: options.maximumLayerBytes ?? 64 * 2 ** 30,
    maximumEntries: options.maximumLayerEntries ?? 2_000_000,
  };
  const registries = Registries.open({
    rules: typeof given === 'function' ? given : () => given,
    ...(options.registryHostsDirectory ? { hostsDirectory: options.registryHostsDirectory } : {}),
    ...(options.registriesConf ? { registriesConf: options.registriesConf } : {}),
    ...(options.registryAuthFiles ? { authFiles: options.registryAuthFiles } : {}),
    log,
    clock,
  });
  const module = new URL('./layer-job.ts', import.meta.url).href;
  const threads = new Threads({ module, most: Math.min(4, availableParallelism()), clock });
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  const isPinned = (names: readonly string[]) => names.some((name) => pinned.some((one) => fitsPattern(one, name)));
  const [index, layers] = await Promise.all([
    ImageIndex.open({ directory: root, boot, isPinned, log }),
    LayerStore.open(join(root, 'layers'), limits, threads),
    removeLeftovers(root),
  ]);
  const store = new FileImageStore({ options, index, layers, threads, registries, boot });
  await store.settle();
  return store;
}

interface Parts {
  options: ImageStoreOptions;
  index: ImageIndex;
  layers: LayerStore;
  threads: Threads;
  registries: Registries;
  boot: string;
}

class FileImageStore implements ImageStore {
  readonly #parts: Parts;
  readonly #options: ImageStoreOptions;
  readonly #index: ImageIndex;
  readonly #layers: LayerStore;
  readonly #machine = thisPlatform();
  readonly #pulls = new SharedPulls<ImageRecord>();
  readonly #serial = new SerialRunner();
  readonly #inherited = new Map<string, readonly InheritedDirectory[]>();
  /** Layers and configurations of work under way: not to be collected. */
  readonly #wanted = new Map<symbol, Set<string>>();
  #background: Promise<unknown> = Promise.resolve();

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#options = parts.options;
    this.#index = parts.index;
    this.#layers = parts.layers;
  }

  /** Takes stock after the last run: images whose layers are gone do not count, layers that nobody has go. */
  async settle(): Promise<void> {
    const broken = this.#index.list().filter(({ layers }) => !layers.every((one) => this.#layers.has(one)));
    for (const { id, repoTags } of broken)
      this.#options.log.warn('image has lost a layer and does not count: it is pulled again when it is needed', {
        image: repoTags[0] ?? id,
      });
    if (broken.length > 0)
      await this.#index.change((images) => {
        for (const { id } of broken) images.delete(id);
      });
    // Nobody waits for the removal of what may be a million files.
    await this.#collect({ later: true });
    if (this.#index.list().some(({ unsynced }) => unsynced)) this.#syncSoon();
  }

  async pull(text: string, options: { auth?: RegistryAuth; signal?: AbortSignal } = {}): Promise<ImageRecord> {
    const candidates = this.#parts.registries.candidatesToPull(text);
    let failure: ImageError | undefined;
    for (const reference of candidates) {
      const full = formatImageReference(reference);
      const key = `${full}\0${JSON.stringify(options.auth ?? null)}`;
      try {
        return await this.#pulls.run(key, (signal) => this.#pull(reference, options.auth, signal), options.signal);
      } catch (cause) {
        const error = ImageError.from(cause);
        failure = new ImageError(error.code, `failed to pull and unpack image "${full}": ${error.message}`, { cause });
        if (options.signal?.aborted) break;
      }
    }
    throw failure!;
  }

  status(text: string): ImageRecord | undefined {
    return findImage(this.#index, text, (name) => this.#parts.registries.candidates(name));
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
    const { name } = options;
    try {
      const { readImageArchive } = await import('./import-archive.ts');
      await readImageArchive({ path, temporary: this.#options.root, machine: this.#machine }, async (image) => {
        if (name && added.some(({ id }) => id !== image.id))
          throw new ImageError('INVALID_ARGUMENT', `it has several images, and only one can be named ${name}`);
        added.push(await this.#importOne(image, name));
      });
    } catch (cause) {
      const error = ImageError.from(cause);
      throw new ImageError(error.code, `failed to import images from ${path}: ${error.message}`, { cause });
    }
    // One that stands under several names is told once.
    return [...new Set(added.map(({ id }) => id))].map((id) => this.#get(id));
  }

  async exportArchive(path: string, references: readonly string[], format: ArchiveFormat): Promise<void> {
    const images = references.map((text) => {
      const image = this.status(text);
      if (!image) throw new ImageError('NOT_FOUND', `image ${text} not found`);
      // What was asked for by name goes out under that name; by id, under all that it has.
      const named = this.#parts.registries.candidates(text).map(formatImageReference);
      const names = image.repoTags.filter((tag) => named.includes(tag));
      return { image, names: names.length > 0 ? names : image.repoTags };
    });
    const { exportImages } = await import('./export-archive.ts');
    await this.#keeping(
      images.flatMap(({ image }) => [image.id, ...image.layers]),
      () => exportImages({ path, images, format, index: this.#index, layers: this.#layers }),
    );
  }

  async fsInfo(): Promise<{ usedBytes: number; inodesUsed: number; mountpoint: string }> {
    const { bytes, inodes } = this.#layers.totalUsage();
    return { usedBytes: bytes, inodesUsed: inodes, mountpoint: this.#options.root };
  }

  layerPaths(imageId: string): string[] {
    return this.#get(imageId)
      .layers.map((diffId) => this.#layers.path(diffId))
      .reverse();
  }

  layerUsage(imageId: string): { diffId: string; bytes: number; inodes: number }[] {
    return this.#get(imageId).layers.map((diffId) => {
      const { bytes, inodes } = this.#layers.usage(diffId);
      return { diffId, bytes, inodes };
    });
  }

  inheritedDirectories(imageId: string): readonly InheritedDirectory[] {
    const known = this.#inherited.get(imageId);
    if (known) return known;
    const { layers } = this.#get(imageId);
    const found = findInheritedDirectories(
      layers.map((one) => ({ directory: this.#layers.path(one), implied: this.#layers.implied(one) })).reverse(),
    );
    this.#inherited.set(imageId, found);
    return found;
  }

  collect(): Promise<{ layers: number; bytes: number }> {
    return this.#collect({});
  }

  async #collect({ later = false }): Promise<{ layers: number; bytes: number }> {
    const freed = await this.#serial.run('collect', async () => {
      const inUse = (await this.#options.layersInUse?.()) ?? new Set<string>();
      const isWanted = (one: string) => [...this.#wanted.values()].some((wanted) => wanted.has(one));
      const aside = await this.#layers.setAside(
        (diffId) =>
          inUse.has(diffId) || isWanted(diffId) || this.#index.list().some(({ layers }) => layers.includes(diffId)),
      );
      await this.#index.dropConfigurations(isWanted);
      return aside;
    });
    const removed = this.#serial.run('remove', () => this.#layers.removeAside());
    if (later) this.#inBackground(removed, 'layers that nobody needs could not be removed');
    else await removed;
    return freed;
  }

  async check(options: { deep?: boolean } = {}): Promise<StoreFinding[]> {
    const { root } = this.#options;
    const { checkStore } = await import('./check-store.ts');
    return checkStore({ root, index: this.#index, layers: this.#layers, deep: options.deep ?? false });
  }

  async explain(text: string, signal?: AbortSignal): Promise<EndpointReport[]> {
    const { reportEndpoints } = await import('./pull-image.ts');
    return reportEndpoints(this.#kit(), this.#parts.registries, this.#parts.registries.candidates(text), signal);
  }

  async close(): Promise<void> {
    await this.#background.catch(() => {});
    await this.#parts.threads.close();
  }

  #get(imageId: string): ImageRecord {
    const image = this.#index.get(imageId);
    if (!image) throw new ImageError('NOT_FOUND', `image ${imageId} not found`);
    return image;
  }

  #kit(progress?: () => void): PullKit {
    const { clock, log, silenceMs } = this.#options;
    return {
      clock,
      log,
      machine: this.#machine,
      knownDocument: (id) => (this.#index.get(id) ? this.#index.configuration(id) : undefined),
      ...(silenceMs ? { silenceMs } : {}),
      ...(progress ? { onBytes: progress } : {}),
    };
  }

  async #pull(reference: ImageReference, auth: RegistryAuth | undefined, signal: AbortSignal): Promise<ImageRecord> {
    this.#parts.threads.warm();
    const { clock, pullProgressTimeoutMs = 300_000 } = this.#options;
    using deadline = new PullDeadline(clock, pullProgressTimeoutMs);
    const stop = AbortSignal.any([signal, deadline.signal]);
    const endpoints = await this.#parts.registries.endpoints(reference, auth, stop);
    const { pullFromEndpoints } = await import('./pull-image.ts');
    // Awaited here: the deadline is for all of it.
    return await this.#keeping([], (keep) =>
      pullFromEndpoints(
        this.#kit(() => deadline.progress()),
        endpoints,
        reference,
        stop,
        async (image, layers) => {
          const { id, configuration, document, size, digest } = image;
          const diffIds = configuration.rootfs.diff_ids;
          keep([id, ...diffIds]);
          await this.#addLayers(layers, stop);
          await faultPoint('pull-image:layers');
          await this.#index.keepConfiguration(id, document);
          return this.#record({ id, layers: diffIds, size, configuration, reference, digest });
        },
      ),
    );
  }

  async #addLayers(
    layers: readonly (Omit<LayerSource, 'open'> & { open: (stop: AbortSignal) => AsyncIterable<Uint8Array> })[],
    signal?: AbortSignal,
  ): Promise<void> {
    const { inParallel } = await import('./fetch-image.ts');
    return inParallel(layers, this.#options.maxParallelLayers ?? 3, signal, ({ open, ...layer }, stop) =>
      this.#layers.add({ ...layer, open: () => open(stop) }),
    );
  }

  async #importOne(image: ArchiveImage, name: string | undefined): Promise<ImageRecord> {
    const { id, configuration, document, size, manifestDigest: digest } = image;
    const layers = configuration.rootfs.diff_ids;
    const references = (name ? [name] : image.names).map((one) => parseImageReference(one));
    return this.#keeping([id, ...layers], async () => {
      await this.#addLayers(image.layers);
      await this.#index.keepConfiguration(id, document);
      const base = { id, layers, size, configuration, ...(digest ? { digest } : {}) };
      let record: ImageRecord | undefined;
      for (const reference of references) record = await this.#record({ ...base, reference });
      return record ?? this.#record(base);
    });
  }

  /** Does something during which layers must not be collected; when it fails, those that it brought go again. */
  async #keeping<T>(wanted: readonly string[], work: (keep: (more: string[]) => void) => Promise<T>): Promise<T> {
    const mark = Symbol('wanted');
    const mine = new Set(wanted);
    this.#wanted.set(mark, mine);
    try {
      return await work((more) => {
        for (const one of more) mine.add(one);
      });
    } catch (error) {
      this.#wanted.delete(mark);
      await this.collect();
      throw error;
    } finally {
      this.#wanted.delete(mark);
    }
  }

  async #record(image: Omit<Parameters<typeof recordImage>[1], 'unsynced'>): Promise<ImageRecord> {
    const record = await recordImage(this.#index, { ...image, unsynced: this.#parts.boot });
    await faultPoint('pull-image:recorded');
    if (record.unsynced) this.#syncSoon();
    return record;
  }

  /**
   * Has the kernel write what it holds of layers to the disk, without anybody waiting: the disk may have much else to
   * write. Until then a power cut takes the image away as a whole, which its record says.
   */
  #syncSoon(): void {
    const synced = this.#serial.run('sync', async () => {
      const waiting = this.#index.list().filter(({ unsynced }) => unsynced);
      if (waiting.length === 0) return;
      await syncFileSystem(this.#options.root);
      await faultPoint('pull-image:synced');
      await this.#index.change((images) => {
        for (const { id } of waiting) {
          const { unsynced: _, ...image } = images.get(id) ?? {};
          if ('id' in image) images.set(id, image as ImageRecord);
        }
      });
    });
    this.#inBackground(synced, 'images are not known to be on the disk');
  }

  #inBackground(work: Promise<unknown>, failure: string): void {
    const done = work.catch((error: unknown) => this.#options.log.debug(failure, { error }));
    this.#background = Promise.all([this.#background, done]);
  }
}
