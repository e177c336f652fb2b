import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { faultPoint } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import { checkDigest, hashFor } from './digest.ts';
import { type ImageConfiguration, readConfiguration } from './image-documents.ts';

/** An image on this node. */
export interface ImageRecord {
  /** Digest of the configuration. */
  id: string;
  /** `registry/repository:tag`, in full. */
  repoTags: string[];
  /** `registry/repository@sha256:…` */
  repoDigests: string[];
  /** Diff IDs, the lowest first. */
  layers: string[];
  /** Compressed size: configuration and layers as the registry has them, bytes. */
  size: number;
  /** Garbage collection is not to remove it. */
  pinned: boolean;
  configuration: ImageConfiguration;
  /**
   * The boot (an id of the kernel) in which its layers were written, as long as they are not known to be on the disk:
   * after a power cut in that time the image does not count.
   */
  unsynced?: string;
}

/** An image as the index has it: what follows from its configuration, or from settings, is left out. */
type StoredImage = Omit<ImageRecord, 'configuration' | 'pinned'>;

/** Layout version of images.json. */
const version = 2;

/** What an index needs to know. */
export interface ImageIndexOptions {
  directory: string;
  /** Id of this boot of the kernel. */
  boot: string;
  isPinned: (names: readonly string[]) => boolean;
  log: Logger;
}

/**
 * The images of this node, in memory and on disk:
 *
 *   images.json             names, layers and sizes of all; replaced as a whole
 *   configurations/<hex>    the configuration of each, to the byte as it came, so that it has its digest
 *
 * A configuration is written before the index names it and removed after. An image whose configuration is missing or
 * damaged, or whose layers may not have reached the disk before the power went, is not there; the rest stays.
 */
export class ImageIndex {
  readonly #options: ImageIndexOptions;
  readonly #file: string;
  #images = new Map<string, ImageRecord>();
  #writing: Promise<void> = Promise.resolve();

  private constructor(options: ImageIndexOptions) {
    this.#options = options;
    this.#file = join(options.directory, 'images.json');
  }

  /** Reads the index. @throws Error when it is of a newer version or damaged */
  static async open(options: ImageIndexOptions): Promise<ImageIndex> {
    const index = new ImageIndex(options);
    await mkdir(index.#configurations, { recursive: true, mode: 0o700 });
    const text = await readFile(index.#file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    const stored = text === undefined ? [] : parseIndex(index.#file, text);
    for (const image of stored) {
      const read = await index.#read(image).catch((error: unknown) => {
        options.log.warn('image is not whole and does not count: it is pulled again when it is needed', {
          image: image.repoTags?.[0] ?? image.id,
          error,
        });
        return undefined;
      });
      if (read) index.#images.set(read.id, read);
    }
    for (const name of await readdir(index.#configurations))
      if (!index.#images.has(idOf(name))) await rm(join(index.#configurations, name), { force: true });
    return index;
  }

  list(): ImageRecord[] {
    return [...this.#images.values()];
  }
  get(id: string): ImageRecord | undefined {
    return this.#images.get(id);
  }

  /** An image's configuration as it came. */
  configuration(id: string): Promise<Buffer> {
    return readFile(this.#configuration(id));
  }

  /** Keeps a configuration for an image that is about to be added. */
  async keepConfiguration(id: string, bytes: Buffer): Promise<void> {
    const file = this.#configuration(id);
    if (this.#images.has(id)) return;
    await writeFile(`${file}.new`, bytes, { mode: 0o600 });
    await faultPoint('pull-image:configuration-written');
    await rename(`${file}.new`, file);
  }

  /** Removes configurations that no image has, but for those that are wanted soon. */
  async dropConfigurations(wanted: (id: string) => boolean): Promise<void> {
    for (const name of await this.strays())
      if (!wanted(idOf(name))) await rm(join(this.#configurations, name), { force: true });
  }

  /** Files beside the configurations of images. */
  async strays(): Promise<string[]> {
    return (await readdir(this.#configurations)).filter((name) => !this.#images.has(idOf(name)));
  }

  /**
   * Changes the index: on disk first, then for readers; when it cannot be written (a full disk), nothing has changed.
   * Changes wait for one another. Records are replaced, never changed in place.
   */
  change(change: (images: Map<string, ImageRecord>) => void): Promise<void> {
    const result = this.#writing.then(async () => {
      const next = new Map(this.#images);
      change(next);
      for (const [id, image] of next)
        next.set(id, { ...image, pinned: this.#options.isPinned([...image.repoTags, ...image.repoDigests]) });
      await this.#write([...next.values()]);
      this.#images = next;
    });
    this.#writing = result.catch(() => {});
    return result;
  }

  get #configurations(): string {
    return join(this.#options.directory, 'configurations');
  }

  #configuration(id: string): string {
    return join(this.#configurations, id.replace(':', '-'));
  }

  async #read(image: StoredImage): Promise<ImageRecord> {
    if (image.unsynced !== undefined && image.unsynced !== this.#options.boot)
      throw new Error('the machine went down before its layers were known to be on the disk');
    const bytes = await readFile(this.#configuration(image.id));
    checkDigest(hashFor(image.id).update(bytes), image.id, 'image configuration');
    const pinned = this.#options.isPinned([...image.repoTags, ...image.repoDigests]);
    return { ...image, configuration: readConfiguration(bytes, image.layers.length), pinned };
  }

  async #write(images: readonly ImageRecord[]): Promise<void> {
    const temporary = `${this.#file}.new`;
    const stored = images.map(({ configuration: _, pinned: __, ...image }): StoredImage => image);
    try {
      await writeFile(temporary, JSON.stringify({ version, images: stored }), { mode: 0o600, flush: true });
      await faultPoint('pull-image:index-written');
      await rename(temporary, this.#file);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }
}

function idOf(name: string): string {
  return name.replace('-', ':');
}

function parseIndex(file: string, text: string): StoredImage[] {
  let stored: { version: number; images: StoredImage[] };
  try {
    stored = JSON.parse(text);
  } catch (cause) {
    throw new Error(`${file} is damaged: move it away, and images are pulled again`, { cause });
  }
  if (stored.version > version)
    throw new Error(
      `${file} was written by a newer deckhand (version ${stored.version}): update deckhand or use another root directory`,
    );
  // Version 1 did not keep configurations as they came: its images are pulled again.
  return stored.version === version ? stored.images : [];
}
