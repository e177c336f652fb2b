import type { Clock, Timer } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import type { PodRecord } from '../pods/pod-record.ts';
import type { RuntimeCache } from '../pods/runtime-cache.ts';
import { isNotFound, type RuntimeClient } from '../pods/runtime-client.ts';
import type { CpuManager } from './cpu-manager.ts';
import { formatCpuSet } from './cpu-set.ts';

/** What the reconciler works with. */
export interface CpusetReconcilerOptions {
  cpus: CpuManager;
  client: RuntimeClient;
  cache: RuntimeCache;
  records(): readonly PodRecord[];
  periodMs: number;
  clock: Clock;
  log: Logger;
}

/**
 * Keeps running containers on the processors that are theirs: what one pod gets for itself, all others have to leave.
 * Looks when something was handed out or came back, and each period.
 */
export class CpusetReconciler {
  readonly #options: CpusetReconcilerOptions;
  /** What each container was last told, by pod and name. */
  readonly #told = new Map<string, string>();
  readonly #failed = new Map<string, string>();
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #again = false;
  #stopped = false;

  constructor(options: CpusetReconcilerOptions) {
    this.#options = options;
  }

  start(): void {
    const again = (): void => {
      void this.reconcile().finally(() => {
        if (!this.#stopped) this.#timer = this.#options.clock.after(this.#options.periodMs, again);
      });
    };
    again();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** A container is being made with these processors. */
  note(podUid: string, container: string, cpus: string): void {
    this.#told.set(`${podUid}/${container}`, cpus);
  }

  /** Looks now; calls during a look cause one more. */
  reconcile(): Promise<void> {
    if (this.#running) {
      this.#again = true;
      return this.#running;
    }
    this.#running = this.#look().finally(() => {
      this.#running = undefined;
      if (!this.#again || this.#stopped) return;
      this.#again = false;
      void this.reconcile();
    });
    return this.#running;
  }

  async #look(): Promise<void> {
    const { cpus, cache, records } = this.#options;
    const there = new Set<string>();
    for (const { pod } of records()) {
      const { uid } = pod.metadata;
      // Ephemeral containers share too: they are found by what runs, not by what the pod says.
      for (const { id, name, state } of cache.pod(uid).containers) {
        if (state !== 'running') continue;
        const key = `${uid}/${name}`;
        there.add(key);
        const wanted = formatCpuSet(cpus.cpusOf(uid, name));
        if (wanted === '' || wanted === this.#told.get(key)) continue;
        await this.#tell(key, id, wanted);
      }
    }
    for (const known of [this.#told, this.#failed])
      for (const key of known.keys()) if (!there.has(key)) known.delete(key);
  }

  async #tell(key: string, containerId: string, cpusetCpus: string): Promise<void> {
    const { client, log } = this.#options;
    try {
      await client.runtime.updateContainerResources({ containerId, linux: { cpusetCpus } }, { timeoutMs: 30_000 });
      this.#told.set(key, cpusetCpus);
      this.#failed.delete(key);
    } catch (error) {
      if (isNotFound(error) || this.#failed.get(key) === cpusetCpus) return;
      this.#failed.set(key, cpusetCpus);
      log.warn('cannot move a container to its processors', { container: containerId, cpus: cpusetCpus, error });
    }
  }
}
