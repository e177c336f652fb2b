import type { Probe } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import type { ProbeOutcome } from './probe-outcome.ts';

/** The kinds of probes. */
export type ProbeKind = 'startup' | 'liveness' | 'readiness';

/** What is known of a container by a probe. */
export type ProbeVerdict = 'success' | 'failure' | 'pending';

/** What a worker is given. */
export interface ProbeWorkerOptions {
  kind: ProbeKind;
  probe: Probe;
  /** When the container started, milliseconds since 1970. */
  startedAt: number;
  /** What was known before this kubelet was started. */
  initial: ProbeVerdict;
  /** Whether the container ran before this kubelet was started: then the first probe waits a part of the period. */
  adopted?: boolean;
  clock: Clock;
  run(): Promise<ProbeOutcome>;
  /** Whether to probe now: not before the startup probe has passed, not while the container is being stopped. */
  active(): boolean;
  onVerdict(verdict: ProbeVerdict): void;
  /** Told of each probe that counts, and how long it took, milliseconds. */
  onOutcome(outcome: ProbeOutcome, durationMs: number): void;
  /** Told of each probe at its time how late it began, milliseconds. */
  onBegin?(lateMs: number): void;
}

/** A probe that could not be made is tried so often at once. */
const triesOnError = 3;
/** First step of the quick looks before the first success, milliseconds; it doubles up to the period. */
const quickStepMs = { exec: 250, other: 100 };

/**
 * Probes one container in one way until it is stopped. Looks are a period apart from begin to begin, however long they
 * take; those that would have fallen into a long one are left out.
 *
 * Startup and readiness probes look more often than their period until the first success, so that a container is ready
 * within moments of being so. These quick looks can only help: their failures do not count.
 */
export class ProbeWorker {
  readonly #options: ProbeWorkerOptions;
  readonly #stop = new AbortController();
  readonly #periodMs: number;
  #verdict: ProbeVerdict;
  #streak: { kind: 'success' | 'failure'; count: number } = { kind: 'success', count: 0 };
  #wake: (() => void) | undefined;

  constructor(options: ProbeWorkerOptions) {
    this.#options = options;
    this.#periodMs = (options.probe.periodSeconds || 10) * 1000;
    this.#verdict = options.initial;
    void this.#work();
  }

  get verdict(): ProbeVerdict {
    return this.#verdict;
  }

  stop(): void {
    this.#stop.abort();
    this.#wake?.();
  }

  /** Looks again whether it may probe: the startup probe has passed. */
  wake(): void {
    this.#wake?.();
  }

  async #work(): Promise<void> {
    const { clock, probe, startedAt, adopted } = this.#options;
    const delayMs = (probe.initialDelaySeconds ?? 0) * 1000;
    // Not longer than that, also when the clock was set back since the container started.
    const firstInMs = Math.min(delayMs, startedAt + delayMs - clock.now());
    // The probes of many containers that were adopted together are spread over their period.
    const spreadMs = adopted || this.#verdict === 'success' ? spread(this.#periodMs, startedAt) : 0;
    let due = clock.monotonic() + Math.max(0, firstInMs) + spreadMs;
    while (!this.#stop.signal.aborted) {
      await this.#until(due);
      if (this.#stop.signal.aborted) return;
      if (!this.#options.active()) {
        await this.#pause(this.#periodMs);
        due = clock.monotonic();
        continue;
      }
      this.#options.onBegin?.(Math.max(0, clock.monotonic() - due));
      await this.#look(true);
      if (this.#isDone()) return;
      due += this.#periodMs;
      if (this.#mayLookQuickly()) await this.#quickLooks(() => due - clock.monotonic());
      if (this.#isDone()) return;
      const now = clock.monotonic();
      if (due < now) due += Math.ceil((now - due) / this.#periodMs) * this.#periodMs;
    }
  }

  /** A startup probe ends with its verdict; a liveness probe that has failed waits for nothing but the container's end. */
  #isDone(): boolean {
    const { kind } = this.#options;
    return (kind === 'startup' && this.#verdict !== 'pending') || (kind === 'liveness' && this.#verdict === 'failure');
  }

  /** Several successes in a row are meant to be a period apart. */
  #mayLookQuickly(): boolean {
    const { kind, probe } = this.#options;
    return kind !== 'liveness' && this.#verdict !== 'success' && (probe.successThreshold ?? 1) <= 1;
  }

  /** Looks again and again within a period, until success. */
  async #quickLooks(untilNext: () => number): Promise<void> {
    let stepMs = this.#options.probe.exec ? quickStepMs.exec : quickStepMs.other;
    while (!this.#stop.signal.aborted && untilNext() > stepMs) {
      await this.#pause(stepMs);
      if (this.#stop.signal.aborted || !this.#options.active()) return;
      await this.#look(false);
      if (this.#verdict === 'success') return;
      stepMs *= 2;
    }
  }

  async #look(counts: boolean): Promise<void> {
    const { probe, run, onOutcome, clock } = this.#options;
    const beganAt = clock.monotonic();
    let outcome = await run();
    for (let tries = 1; outcome.kind === 'error' && tries < triesOnError; tries++) {
      if (this.#stop.signal.aborted) return;
      outcome = await run();
    }
    if (this.#stop.signal.aborted) return;
    if (counts || outcome.kind === 'success') onOutcome(outcome, clock.monotonic() - beganAt);
    if (outcome.kind === 'error' || (outcome.kind === 'failure' && !counts)) return;
    const { kind } = outcome;
    this.#streak = this.#streak.kind === kind ? { kind, count: this.#streak.count + 1 } : { kind, count: 1 };
    const threshold = kind === 'success' ? (probe.successThreshold ?? 1) : (probe.failureThreshold ?? 3);
    if (this.#streak.count < threshold || this.#verdict === kind) return;
    this.#verdict = kind;
    this.#options.onVerdict(kind);
  }

  /** Waits until a time on the monotonic clock; being waked does not make it shorter. */
  async #until(due: number): Promise<void> {
    const { clock } = this.#options;
    for (let left = due - clock.monotonic(); left > 0 && !this.#stop.signal.aborted; left = due - clock.monotonic())
      await this.#pause(left);
  }

  /** Waits; wake() and stop() end it early. */
  #pause(ms: number): Promise<void> {
    if (ms <= 0 || this.#stop.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        timer.cancel();
        this.#wake = undefined;
        resolve();
      };
      const timer = this.#options.clock.after(ms, done);
      this.#wake = done;
    });
  }
}

/** A share of the period by the container's start, so that it is the same each time and differs among containers. */
function spread(periodMs: number, startedAt: number): number {
  return (startedAt * 7919) % periodMs;
}
