import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../../async/index.ts';
import type { ContainerDetails, Engine } from '../engine/index.ts';

/** What a writable layer takes. */
export interface LayerUsage {
  bytes: bigint;
  inodes: bigint;
}

/** A figure is good for this long, milliseconds. */
const freshMs = 30_000;
/** Directories that are read at once. */
const parallel = 8;

interface Known {
  usage: LayerUsage;
  atMs: number;
  measuring?: Promise<LayerUsage>;
}

/**
 * What the writable layers of containers take. The engine keeps no account of it, so their directories are walked, beside
 * whoever asks: the answer is the last figure.
 */
export class DiskUsage {
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #known = new Map<string, Known>();

  constructor(engine: Engine, clock: Clock) {
    this.#engine = engine;
    this.#clock = clock;
  }

  /** The last figure; the first one is waited for. */
  async usage(id: string): Promise<LayerUsage> {
    const known = this.#known.get(id);
    const now = this.#clock.monotonic();
    if (known && (known.measuring || now - known.atMs < freshMs)) return known.usage;
    const measuring = this.#measure(id).then(
      (usage) => {
        this.#known.set(id, { usage, atMs: this.#clock.monotonic() });
        return usage;
      },
      (error: unknown) => {
        this.#known.delete(id);
        throw error;
      },
    );
    if (!known) return measuring;
    this.#known.set(id, { ...known, measuring });
    measuring.catch(() => {});
    return known.usage;
  }

  forget(id: string): void {
    this.#known.delete(id);
  }

  async #measure(id: string): Promise<LayerUsage> {
    const { GraphDriver } = await this.#engine.get<ContainerDetails>(`/containers/${id}/json`);
    const directory = GraphDriver?.Data?.['UpperDir'];
    return directory ? walk(directory) : { bytes: 0n, inodes: 0n };
  }
}

async function walk(root: string): Promise<LayerUsage> {
  let [bytes, inodes] = [0n, 0n];
  const directories = [root];
  const visit = async (directory: string): Promise<void> => {
    for (const entry of await readdir(directory, { withFileTypes: true }).catch(() => [])) {
      const path = join(directory, entry.name);
      const found = await lstat(path, { bigint: true }).catch(() => undefined);
      if (!found) continue;
      bytes += found.blocks * 512n;
      inodes += 1n;
      if (entry.isDirectory()) directories.push(path);
    }
  };
  while (directories.length > 0) await Promise.all(directories.splice(-parallel).map(visit));
  return { bytes, inodes };
}
