import type { Probe } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import type { ProbeOutcome } from './run-probe.ts';

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
  clock: Clock;
  run(): Promise<ProbeOutcome>;
  /** Whether to probe now: not before the startup probe has passed, not while the container is being stopped. */
  active(): boolean;
  onVerdict(verdict: ProbeVerdict): void;
  /** Told of each probe that counts. */
  onOutcome(outcome: ProbeOutcome): void;
}

/** A probe that could not be made is tried so often at once. */
const triesOnError = 3;
/** First step of the quick looks before the first success, milliseconds; it doubles up to the period. */
const quickStepMs = { exec: 250, other: 100 };

/**
 * Probes one container in one way until it is stopped.
 *
 * Startup and readiness probes look more often than their period until the first success, so that a container is ready
 * within moments of being so. These quick looks can only help: their failures do not count.
 */
export class ProbeWorker {
  readonly #options: ProbeWorkerOptions;
  readonly #stop = new AbortController();
  #verdict: ProbeVerdict;
  #streak: { kind: 'success' | 'failure'; count: number } = { kind: 'success', count: 0 };
  #wake: (() => void) | undefined;

  constructor(options: ProbeWorkerOptions) {
    this.#options = options;
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
    const { clock, probe, startedAt, kind } = this.#options;
    const periodMs = (probe.periodSeconds || 10) * 1000;
    const firstAt = startedAt + (probe.initialDelaySeconds ?? 0) * 1000;
    await this.#pause(firstAt - clock.now());
    // The probes of many containers that were adopted together are spread over their period.
    if (this.#verdict === 'success') await this.#pause(spread(periodMs, startedAt));
    while (!this.#stop.signal.aborted) {
      if (!this.#options.active()) {
        await this.#pause(periodMs);
        continue;
      }
      const beganAt = clock.monotonic();
      await this.#look(true);
      if (kind === 'startup' && this.#verdict !== 'pending') return;
      const untilNext = () => periodMs - (clock.monotonic() - beganAt);
      if (kind !== 'liveness' && this.#verdict !== 'success') await this.#quickLooks(untilNext);
      if (kind === 'startup' && this.#verdict !== 'pending') return;
      await this.#pause(untilNext());
    }
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
    const { probe, run, onOutcome } = this.#options;
    let outcome = await run();
    for (let tries = 1; outcome.kind === 'error' && tries < triesOnError; tries++) {
      if (this.#stop.signal.aborted) return;
      outcome = await run();
    }
    if (this.#stop.signal.aborted) return;
    if (counts || outcome.kind === 'success') onOutcome(outcome);
    if (outcome.kind === 'error' || (outcome.kind === 'failure' && !counts)) return;
    const { kind } = outcome;
    this.#streak = this.#streak.kind === kind ? { kind, count: this.#streak.count + 1 } : { kind, count: 1 };
    const threshold = kind === 'success' ? (probe.successThreshold ?? 1) : (probe.failureThreshold ?? 3);
    if (this.#streak.count < threshold || this.#verdict === kind) return;
    this.#verdict = kind;
    this.#options.onVerdict(kind);
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
