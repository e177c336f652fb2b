import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImageConfiguration } from './image-documents.ts';

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
  pinned: boolean;
  configuration: ImageConfiguration;
}

/** Layout version of images.json. */
const version = 1;

/** The images of this node, in memory and in one file that is replaced as a whole. */
export class ImageIndex {
  readonly #file: string;
  #images = new Map<string, ImageRecord>();
  #writing: Promise<void> = Promise.resolve();

  private constructor(file: string) {
    this.#file = file;
  }

  /** Reads the index. @throws Error when it is of a newer version or damaged */
  static async open(directory: string): Promise<ImageIndex> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const index = new ImageIndex(join(directory, 'images.json'));
    const text = await readFile(index.#file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (text === undefined) return index;
    const stored = parseIndex(index.#file, text);
    for (const image of stored.images) index.#images.set(image.id, image);
    return index;
  }

  list(): ImageRecord[] {
    return [...this.#images.values()];
  }
  get(id: string): ImageRecord | undefined {
    return this.#images.get(id);
  }

  /**
   * Changes the index: on disk first, then for readers; when it cannot be written (a full disk), nothing has changed.
   * Changes wait for one another. Records are replaced, never changed in place.
   */
  change(change: (images: Map<string, ImageRecord>) => void): Promise<void> {
    const result = this.#writing.then(async () => {
      const next = new Map(this.#images);
      change(next);
      await this.#write([...next.values()]);
      this.#images = next;
    });
    this.#writing = result.catch(() => {});
    return result;
  }

  async #write(images: ImageRecord[]): Promise<void> {
    const temporary = `${this.#file}.new`;
    try {
      await writeFile(temporary, JSON.stringify({ version, images }), { mode: 0o600, flush: true });
      await rename(temporary, this.#file);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }
}

function parseIndex(file: string, text: string): { images: ImageRecord[] } {
  let stored: { version: number; images: ImageRecord[] };
  try {
    stored = JSON.parse(text);
  } catch (cause) {
    throw new Error(`${file} is damaged: move it away, and images are pulled again`, { cause });
  }
  if (stored.version > version)
    throw new Error(
      `${file} was written by a newer deckhand (version ${stored.version}): update deckhand or use another root directory`,
    );
  return stored;
}
