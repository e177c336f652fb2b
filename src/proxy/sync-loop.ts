import { Backoff, type Clock, type Timer } from '../async/index.ts';

/** Longest pause that follows from how long a run took, milliseconds: upstream's default of minSyncPeriod. */
const longestPauseMs = 1_000;

/** How a {@link SyncLoop} runs. */
export interface SyncLoopOptions {
  clock: Clock;
  /**
   * Least time from the end of a run to the start of the next, milliseconds; 0: none. Undefined: as long as the run took, a
   * second at most: runs then take no more than half of the time, and what is quick is not held up.
   */
  minimumPauseMs: () => number | undefined;
  run: () => Promise<void>;
  /** Told of a run that failed; it is tried again with back-off. */
  onError: (error: unknown) => void;
}

/**
 * Runs one thing again and again, never twice at a time. The first request acts at once; what comes while a run goes
 * on, or in the pause after it, is one run together.
 */
export class SyncLoop {
  readonly #options: SyncLoopOptions;
  readonly #backoff: Backoff;
  #wanted = false;
  #running: Promise<void> | undefined;
  #timer: Timer | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #startedAt = 0;
  #endedAt = Number.NEGATIVE_INFINITY;
  #stopped = false;
  #urgent = false;

  constructor(options: SyncLoopOptions) {
    this.#options = options;
    this.#backoff = new Backoff({ initialMs: 100, maximumMs: 30_000 }, options.clock);
  }

  /** Asks for a run as soon as may be, after everything that happens in this turn of the event loop. */
  request(): void {
    this.#wanted = true;
    if (this.#running || this.#stopped) return;
    this.#schedule(Math.max(0, this.#endedAt + this.#pause() - this.#options.clock.monotonic()));
  }
  /** Asks for a run without the pause: as soon as none goes on. */
  requestNow(): void {
    this.#urgent = true;
    this.request();
  }
  /** Asks for a run in `ms` at the latest. */
  requestAfter(ms: number): void {
    if (!this.#stopped) this.#schedule(ms);
  }
  /** Resolves when no run goes on and none is asked for. */
  async idle(): Promise<void> {
    while (this.#running || this.#wanted) {
      if (this.#running) await this.#running;
      else await new Promise((resolve) => setImmediate(resolve));
    }
  }
  /** No run starts any more; waits for the one that goes on. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#wanted = false;
    await this.#running;
  }

  #schedule(ms: number): void {
    const at = this.#options.clock.monotonic() + ms;
    if (at >= this.#timerAt) return;
    this.#timer?.cancel();
    this.#timerAt = at;
    if (ms <= 0) {
      // Not a timer: those wait a millisecond at least.
      const immediate = setImmediate(() => this.#begin());
      this.#timer = { cancel: () => clearImmediate(immediate) };
    } else this.#timer = this.#options.clock.after(ms, () => this.#begin());
  }
  #pause(): number {
    if (this.#urgent) return 0;
    const longest = this.#options.minimumPauseMs();
    return longest ?? Math.min(longestPauseMs, Math.max(0, this.#endedAt - this.#startedAt));
  }
  #begin(): void {
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    if (this.#running || this.#stopped) return;
    this.#wanted = false;
    this.#urgent = false;
    this.#startedAt = this.#options.clock.monotonic();
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
      this.#endedAt = this.#options.clock.monotonic();
      if (this.#wanted) this.request();
    });
  }
  async #run(): Promise<void> {
    try {
      await this.#options.run();
      this.#backoff.reset('');
    } catch (error) {
      this.#options.onError(error);
      this.requestAfter(this.#backoff.next(''));
    }
  }
}
