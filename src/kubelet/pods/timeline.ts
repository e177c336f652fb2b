import type { Pod } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import type { PodTimeline } from './ports.ts';

/** How many pods are remembered. */
const kept = 500;
/** How many steps of one pod are remembered: enough for its start, and not growing with restarts. */
const keptSteps = 100;

/** Notes when each step of a pod's life happened: where the time of a start goes. */
export class Timelines {
  readonly #clock: Clock;
  readonly #pods = new Map<string, { seenMonotonic: number; timeline: PodTimeline }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Notes that a step was reached (or, with `startedAt` on the monotonic clock, how long it took). */
  note(pod: Pod, step: string, options: { startedAt?: number; container?: string } = {}): void {
    const now = this.#clock.monotonic();
    const entry = this.#entry(pod, now);
    if (entry.timeline.steps.length >= keptSteps) return;
    entry.timeline.steps.push({
      step,
      atMs: round(now - entry.seenMonotonic),
      ...(options.startedAt !== undefined ? { durationMs: round(now - options.startedAt) } : {}),
      ...(options.container ? { container: options.container } : {}),
    });
  }

  /** Runs a step and notes how long it took. */
  async measure<T>(pod: Pod, step: string, task: () => Promise<T>, container?: string): Promise<T> {
    const startedAt = this.#clock.monotonic();
    try {
      return await task();
    } finally {
      this.note(pod, step, { startedAt, ...(container ? { container } : {}) });
    }
  }

  /** All that is remembered, oldest first. */
  list(): PodTimeline[] {
    return [...this.#pods.values()].map(({ timeline }) => timeline);
  }

  #entry(pod: Pod, now: number) {
    const uid = pod.metadata.uid!;
    let entry = this.#pods.get(uid);
    if (!entry) {
      const { name = '', namespace = '' } = pod.metadata;
      entry = {
        seenMonotonic: now,
        timeline: { podUid: uid, namespace, name, seenAt: this.#clock.now(), steps: [] },
      };
      this.#pods.set(uid, entry);
      if (this.#pods.size > kept) this.#pods.delete(this.#pods.keys().next().value!);
    }
    return entry;
  }
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}
