import { readdir, readFile, stat, watch } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Pod } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import { parseStaticPods } from './static-pod.ts';

/** What the file source is given. */
export interface FileSourceOptions {
  /** A directory of manifests, or one manifest. */
  path: string;
  nodeName: string;
  /** Milliseconds between full looks; a watch makes changes known at once. */
  rescanMs: number;
  clock: Clock;
  log: Logger;
  /** Gets all pods of all manifests after each look that found a change, and after the first. */
  onPods(pods: Pod[]): void;
}

interface Manifest {
  text: string;
  pods: Pod[];
}

/**
 * Watches a directory of static pod manifests. A file that cannot be read as pods is told once per content and keeps
 * the pods that its last good content had; the others go on. Names that begin with a dot are not looked at.
 */
export class FileSource {
  readonly #options: FileSourceOptions;
  readonly #manifests = new Map<string, Manifest>();
  readonly #told = new Map<string, string>();
  readonly #stop = new AbortController();
  #scanning: Promise<void> | undefined;
  #again = false;
  #first = true;

  constructor(options: FileSourceOptions) {
    this.#options = options;
  }

  /** Looks for the first time, and goes on in the background. Resolves after the first look. */
  async start(): Promise<void> {
    await this.scan();
    void this.#watch();
    void this.#rescan();
  }

  stop(): void {
    this.#stop.abort(new Error('file source stopped'));
  }

  /** Looks at the directory now; calls during a look cause one more. */
  async scan(): Promise<void> {
    if (this.#scanning) {
      this.#again = true;
      return this.#scanning;
    }
    this.#scanning = this.#scanOnce().finally(() => {
      this.#scanning = undefined;
      if (!this.#again) return;
      this.#again = false;
      void this.scan();
    });
    return this.#scanning;
  }

  async #scanOnce(): Promise<void> {
    let files: string[];
    try {
      files = await this.#list();
    } catch (error) {
      // Nothing is known now: what was known stays.
      this.#tell(this.#options.path, `cannot list: ${(error as Error).message}`);
      return;
    }
    let changed = this.#first;
    this.#first = false;
    for (const file of files) if (await this.#read(file)) changed = true;
    for (const file of this.#manifests.keys()) {
      if (files.includes(file)) continue;
      this.#manifests.delete(file);
      this.#told.delete(file);
      changed = true;
    }
    if (changed && !this.#stop.signal.aborted) this.#options.onPods(this.#pods());
  }

  async #list(): Promise<string[]> {
    const { path } = this.#options;
    const info = await stat(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (!info) return [];
    if (!info.isDirectory()) return [path];
    const entries = await readdir(path);
    return entries
      .filter((name) => !name.startsWith('.'))
      .sort()
      .map((name) => join(path, name));
  }

  /** Reads one file; true when its pods have changed. */
  async #read(file: string): Promise<boolean> {
    let text: string;
    try {
      const info = await stat(file);
      if (info.isDirectory()) return false;
      text = await readFile(file, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#tell(file, (error as Error).message);
      return false;
    }
    const known = this.#manifests.get(file);
    if (known?.text === text) return false;
    try {
      const pods = parseStaticPods(text, { nodeName: this.#options.nodeName, file, source: 'file' });
      this.#manifests.set(file, { text, pods });
      this.#told.delete(file);
      return true;
    } catch (error) {
      this.#tell(file, (error as Error).message);
      return false;
    }
  }

  #pods(): Pod[] {
    const pods = new Map<string, Pod>();
    for (const [file, manifest] of this.#manifests) {
      for (const pod of manifest.pods) {
        const name = `${pod.metadata.namespace}/${pod.metadata.name}`;
        if (pods.has(name))
          this.#tell(`${file} (${name})`, 'another manifest has a pod of this name: it is not run twice');
        else pods.set(name, pod);
      }
    }
    return [...pods.values()];
  }

  #tell(file: string, problem: string): void {
    if (this.#told.get(file) === problem) return;
    this.#told.set(file, problem);
    this.#options.log.error('a static pod manifest cannot be used', { file, problem });
  }

  async #watch(): Promise<void> {
    const { path, clock } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        const info = await stat(path).catch(() => undefined);
        const target = info?.isDirectory() ? path : dirname(path);
        for await (const { filename } of watch(target, { signal, persistent: false })) {
          if (target === path || filename === basename(path)) await this.scan();
        }
      } catch {
        // The directory is not there (any more): look again later.
      }
      await clock.sleep(1000, signal).catch(() => {});
    }
  }

  async #rescan(): Promise<void> {
    const { clock, rescanMs } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await clock.sleep(rescanMs, signal).catch(() => {});
      if (!signal.aborted) await this.scan();
    }
  }
}
