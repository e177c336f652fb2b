import type { Pod } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import type { PodTimeline } from './ports.ts';

/** A step of a timeline. */
export type TimelineStep = PodTimeline['steps'][number];

/** How many pods are remembered. */
const kept = 500;
/** How many steps of one pod are remembered: those of its start, and its latest (restarts do not make it grow). */
const keptSteps = { first: 60, latest: 60 };

/** Notes when each step of a pod's life happened: where the time of a start goes. */
export class Timelines {
  readonly #clock: Clock;
  readonly #onStep: (pod: Pod, step: TimelineStep) => void;
  readonly #pods = new Map<string, { seenMonotonic: number; timeline: PodTimeline }>();

  /** `onStep` is told each step as it is noted. */
  constructor(clock: Clock, onStep: (pod: Pod, step: TimelineStep) => void = () => {}) {
    this.#clock = clock;
    this.#onStep = onStep;
  }

  /** Notes that a step was reached (or, with `startedAt` on the monotonic clock, how long it took). */
  note(
    pod: Pod,
    step: string,
    options: { startedAt?: number; container?: string; detail?: string; failed?: boolean } = {},
  ): void {
    const now = this.#clock.monotonic();
    const entry = this.#entry(pod, now);
    const { startedAt, container, detail, failed } = options;
    const noted: TimelineStep = {
      step,
      atMs: round(now - entry.seenMonotonic),
      ...(startedAt !== undefined ? { durationMs: round(now - startedAt) } : {}),
      ...(container ? { container } : {}),
      ...(detail ? { detail } : {}),
      ...(failed ? { failed } : {}),
    };
    const { steps } = entry.timeline;
    steps.push(noted);
    if (steps.length > keptSteps.first + keptSteps.latest) steps.splice(keptSteps.first, 1);
    this.#onStep(pod, noted);
  }

  /** Runs a step and notes how long it took, and whether it failed. */
  async measure<T>(pod: Pod, step: string, task: () => Promise<T>, container?: string): Promise<T> {
    const startedAt = this.#clock.monotonic();
    let failed = true;
    try {
      const result = await task();
      failed = false;
      return result;
    } finally {
      this.note(pod, step, { startedAt, failed, ...(container ? { container } : {}) });
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
