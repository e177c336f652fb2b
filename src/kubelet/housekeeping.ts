import { readdir, readlink, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock, Timer } from '../async/index.ts';
import type { Logger } from '../log/index.ts';
import type { KubeletSettings } from './config/settings.ts';
import type { PodManager } from './pods/pod-manager.ts';
import type { PodCgroups, PodVolumes } from './pods/ports.ts';
import type { RuntimeCache } from './pods/runtime-cache.ts';

/** What is looked at and who removes it. */
export interface HousekeepingOptions {
  settings: KubeletSettings;
  /** Only once every source has told all its pods, a pod that none has told is nobody's. */
  sources: () => { readonly isReady: boolean };
  manager: () => PodManager;
  cache: RuntimeCache;
  volumes: PodVolumes;
  cgroups: PodCgroups;
  resizes: { collect(known: ReadonlySet<string>): void };
  /** The kubelet ends. */
  signal: AbortSignal;
  clock: Clock;
  log: Logger;
}

/** How long something that nobody knows is left alone before it is looked at, milliseconds. */
const patienceMs = 2000;

/**
 * The uids of pods that are known, at the moment of the question: a pod that comes while leftovers are being removed is
 * none of them.
 */
class KnownPods extends Set<string> {
  readonly #options: HousekeepingOptions;
  constructor(options: HousekeepingOptions) {
    super();
    this.#options = options;
  }
  override has(uid: string): boolean {
    const { manager, cache } = this.#options;
    return manager().record(uid) !== undefined || cache.has(uid);
  }
}

/** Ends and removes what belongs to no pod: in the runtime, volumes, cgroups, logs. */
export class Housekeeping {
  readonly #options: HousekeepingOptions;
  readonly #known: KnownPods;
  #collecting: Promise<unknown> | undefined;
  #soon: Timer | undefined;

  constructor(options: HousekeepingOptions) {
    this.#options = options;
    this.#known = new KnownPods(options);
  }

  /** Does it once; calls during a round are part of it. */
  run(): void {
    const { sources, manager, volumes, cgroups, resizes, signal, log } = this.#options;
    if (signal.aborted) return;
    if (!sources().isReady) return this.soon();
    manager().removeOrphans();
    resizes.collect(this.#known);
    this.#collecting ??= Promise.all([volumes.collect(this.#known), cgroups.collect(this.#known), this.#collectLogs()])
      .catch((error: unknown) => log.warn('cannot clean up after pods that have gone', { error }))
      .finally(() => {
        this.#collecting = undefined;
      });
  }

  /** Something has come up of a pod that is not known: it is looked at when its source has had time to tell of it. */
  soon(): void {
    this.#soon ??= this.#options.clock.after(patienceMs, () => {
      this.#soon = undefined;
      this.run();
    });
  }

  /** Directories `<namespace>_<name>_<uid>` of logs, and links to logs that are not there. */
  async #collectLogs(): Promise<void> {
    const { podLogsDirectory, containerLogsDirectory } = this.#options.settings;
    for (const name of await readdir(podLogsDirectory).catch(() => [])) {
      const uid = /^[^_]+_[^_]+_([^_]+)$/.exec(name)?.[1];
      if (uid && !this.#known.has(uid)) await rm(join(podLogsDirectory, name), { recursive: true, force: true });
    }
    for (const name of await readdir(containerLogsDirectory).catch(() => [])) {
      const link = join(containerLogsDirectory, name);
      const target = await readlink(link).catch(() => '');
      if (!target.startsWith(`${podLogsDirectory}/`)) continue;
      const isThere = await stat(link).catch(() => undefined);
      // The directory of a live pod may be about to get the file.
      const uid = /_([^_/]+)\/[^/]+\/[^/]+$/.exec(target)?.[1];
      if (!isThere && uid && !this.#known.has(uid)) await rm(link, { force: true });
    }
  }
}
