import { Backoff, type Clock, type Timer } from '../../async/index.ts';
import type { PodInfo } from './pod-info.ts';

/** What happened in the cluster that may let a refused pod in. */
export type ClusterChange = 'node' | 'podGone' | 'podPlaced' | 'storage' | 'anything';

interface Refused {
  info: PodInfo;
  /** Whether where other pods are had a part in it. */
  aboutPods: boolean;
}

/** A refused pod is looked at again after this long even if nothing has happened, milliseconds. */
const patienceMs = 5 * 60_000;

/**
 * The pods that wait for a node: ready to be tried (by priority, then age), backing off, or refused until something
 * changes.
 *
 * Invariant: a pod is in at most one of the three, under its key.
 */
export class SchedulingQueue {
  readonly #ready = new Map<string, { info: PodInfo; order: number }>();
  readonly #backingOff = new Map<string, { info: PodInfo; timer: Timer }>();
  readonly #refused = new Map<string, Refused>();
  readonly #backoff: Backoff;
  readonly #clock: Clock;
  readonly #onReady: () => void;
  /** Sorted when needed: pods come in bursts, and mostly with one priority. */
  #sorted: string[] = [];
  #dirty = false;
  #order = 0;
  #sweep: Timer | undefined;
  /** Counts changes, so that a refusal decided before a change is not put to sleep after it. */
  changes = 0;

  constructor(clock: Clock, onReady: () => void) {
    this.#clock = clock;
    this.#onReady = onReady;
    this.#backoff = new Backoff({ initialMs: 100, maximumMs: 10_000 }, clock);
  }

  /** A new or changed pod: to be tried now. */
  add(info: PodInfo): void {
    this.#drop(info.key);
    this.#makeReady(info);
  }
  /** The pod needs no node any more. */
  remove(key: string): void {
    this.#drop(key);
    this.#backoff.reset(key);
  }
  has(key: string): boolean {
    return this.#ready.has(key) || this.#backingOff.has(key) || this.#refused.has(key);
  }
  /** The next pod to try. */
  take(): PodInfo | undefined {
    if (this.#dirty) {
      this.#sorted = [...this.#ready]
        .sort(([, a], [, b]) => a.info.priority - b.info.priority || b.order - a.order)
        .map(([key]) => key);
      this.#dirty = false;
    }
    for (;;) {
      const key = this.#sorted.pop();
      if (key === undefined) return undefined;
      const entry = this.#ready.get(key);
      if (!entry) continue;
      this.#ready.delete(key);
      return entry.info;
    }
  }
  /** No node takes it. `seen` is {@link changes} as it was when that was decided. */
  refuse(info: PodInfo, aboutPods: boolean, seen: number): void {
    if (seen !== this.changes) return this.retry(info);
    this.#refused.set(info.key, { info, aboutPods });
    this.#backoff.next(info.key);
    this.#sweep ??= this.#clock.after(patienceMs, () => {
      this.#sweep = undefined;
      this.notice('anything');
    });
  }
  /** Something went wrong with it: to be tried again after its back-off. */
  retry(info: PodInfo): void {
    this.#wait(info, this.#backoff.next(info.key));
  }
  /** Wakes the refused pods that the change may help. */
  notice(change: ClusterChange): void {
    this.changes++;
    for (const [key, { info, aboutPods }] of this.#refused) {
      if (change === 'podPlaced' && !aboutPods) continue;
      if (change === 'storage' && !hasClaims(info)) continue;
      this.#refused.delete(key);
      // A node that comes or a pod that goes is worth an immediate look the first few times.
      const delayMs = this.#backoff.current(key);
      if (delayMs <= 200) this.#makeReady(info);
      else this.#wait(info, delayMs / 2);
    }
  }
  stop(): void {
    this.#sweep?.cancel();
    for (const { timer } of this.#backingOff.values()) timer.cancel();
    this.#ready.clear();
    this.#backingOff.clear();
    this.#refused.clear();
  }

  #makeReady(info: PodInfo): void {
    this.#ready.set(info.key, { info, order: this.#order++ });
    this.#dirty = true;
    this.#onReady();
  }
  #wait(info: PodInfo, delayMs: number): void {
    this.#drop(info.key);
    const timer = this.#clock.after(delayMs, () => {
      this.#backingOff.delete(info.key);
      this.#makeReady(info);
    });
    this.#backingOff.set(info.key, { info, timer });
  }
  #drop(key: string): void {
    this.#ready.delete(key);
    this.#refused.delete(key);
    this.#backingOff.get(key)?.timer.cancel();
    this.#backingOff.delete(key);
  }
}

/** Whether a pod has claims, or volumes that get some. */
export function hasClaims({ pod }: PodInfo): boolean {
  return (pod.spec.volumes ?? []).some(({ persistentVolumeClaim, ephemeral }) => persistentVolumeClaim ?? ephemeral);
}
