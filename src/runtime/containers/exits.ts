import { mkdir, readdir, readFile, rm, stat, watch } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock, Timer } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import { unlessMissing } from '../errors.ts';

/** The end of a container as conmon wrote it. */
export interface ContainerExit {
  id: string;
  exitCode: number;
  finishedAtMs: number;
}

const sweepMs = 5000;
const glanceMs = 500;
/** When to look again at an exit that could not be taken down, milliseconds. */
const retryMs = 500;

/**
 * Tells of exit files as conmon writes them, and of those that are there already. A file is told until forget() removes
 * it: the directory is the truth, events only make it fast.
 */
export class ExitWatcher {
  readonly #directory: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #onExit: (exit: ContainerExit) => Promise<void>;
  readonly #onSweep: () => void;
  readonly #onGlance: () => void;
  readonly #stop = new AbortController();
  #timer: Timer | undefined;
  #glances: Timer | undefined;

  constructor(options: {
    directory: string;
    clock: Clock;
    log: Logger;
    /** Takes the exit down; when it fails it is told again soon. */
    onExit: (exit: ContainerExit) => Promise<void>;
    /** Called at every slow look, for what leaves no exit file. */
    onSweep: () => void;
    /** Called twice a second, for what costs next to nothing. */
    onGlance: () => void;
  }) {
    this.#directory = options.directory;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#onExit = options.onExit;
    this.#onSweep = options.onSweep;
    this.#onGlance = options.onGlance;
  }

  async start(): Promise<void> {
    await mkdir(this.#directory, { recursive: true });
    const events = watch(this.#directory, { signal: this.#stop.signal });
    void this.#follow(events);
    await this.sweep();
    this.#schedule();
    this.#glance();
  }

  /** Looks at every file now. */
  async sweep(): Promise<void> {
    for (const name of (await unlessMissing(readdir(this.#directory))) ?? []) await this.#look(name);
  }

  /** The exit of one container, when its file is there. */
  async read(id: string): Promise<ContainerExit | undefined> {
    const path = join(this.#directory, id);
    const [text, stats] = await Promise.all([unlessMissing(readFile(path, 'utf8')), unlessMissing(stat(path))]);
    if (!text || !stats || !/^-?\d+\s*$/.test(text)) return undefined;
    return { id, exitCode: Number(text), finishedAtMs: stats.mtimeMs };
  }

  /** The exit is written down elsewhere. */
  async forget(id: string): Promise<void> {
    await rm(join(this.#directory, id), { force: true });
  }

  stop(): void {
    this.#stop.abort();
    this.#timer?.cancel();
    this.#glances?.cancel();
  }

  async #follow(events: AsyncIterable<{ filename: string | null }>): Promise<void> {
    try {
      for await (const { filename } of events) if (filename) await this.#look(filename);
    } catch (error) {
      if (!this.#stop.signal.aborted)
        this.#log.warn('exit directory cannot be watched, looking now and then', { error });
    }
  }

  async #look(name: string): Promise<void> {
    if (!/^[0-9a-f]{64}$/.test(name)) return;
    const exit = await this.read(name);
    if (!exit) return;
    this.#onExit(exit).catch((error: unknown) => {
      this.#log.error('the end of a container could not be taken down, trying again', { id: name, error });
      if (!this.#stop.signal.aborted) this.#clock.after(retryMs, () => void this.#look(name).catch(() => {}));
    });
  }

  #glance(): void {
    if (this.#stop.signal.aborted) return;
    this.#glances = this.#clock.after(glanceMs, () => {
      this.#onGlance();
      this.#glance();
    });
  }

  #schedule(): void {
    if (this.#stop.signal.aborted) return;
    this.#timer = this.#clock.after(sweepMs, () => {
      this.#onSweep();
      void this.sweep()
        .catch((error: unknown) => this.#log.warn('exit directory cannot be read', { error }))
        .then(() => this.#schedule());
    });
  }
}
