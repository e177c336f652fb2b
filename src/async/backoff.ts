import type { Clock } from './clock.ts';

/** Delays that double, per key, and are forgotten after a quiet time. */
export interface BackoffOptions {
  /** First delay, milliseconds. */
  initialMs: number;
  /** Longest delay, milliseconds. */
  maximumMs: number;
  /** A key that was not used for this long starts over. Default: twice the maximum. */
  resetAfterMs?: number;
}

/** Exponential back-off per key. */
export class Backoff {
  readonly #options: Required<BackoffOptions>;
  readonly #clock: Clock;
  readonly #entries = new Map<string, { delayMs: number; lastAt: number }>();

  constructor(options: BackoffOptions, clock: Clock) {
    this.#options = { resetAfterMs: options.maximumMs * 2, ...options };
    this.#clock = clock;
  }
  /** Notes one more failure and gives the delay to wait before the next try, milliseconds. */
  next(key: string): number {
    const entry = this.#fresh(key);
    const delayMs = entry ? Math.min(entry.delayMs * 2, this.#options.maximumMs) : this.#options.initialMs;
    this.#entries.set(key, { delayMs, lastAt: this.#clock.now() });
    return delayMs;
  }
  /** The delay that the last failure of the key set, milliseconds; 0 without one. */
  current(key: string): number {
    return this.#fresh(key)?.delayMs ?? 0;
  }
  /** Milliseconds still to wait, counted from `since` (milliseconds since 1970): 0 when the key may go on. */
  remaining(key: string, since: number): number {
    return Math.max(0, since + this.current(key) - this.#clock.now());
  }
  /** Forgets the key. */
  reset(key: string): void {
    this.#entries.delete(key);
  }
  /** Forgets every key that has been quiet for long enough. */
  collect(): void {
    for (const key of this.#entries.keys()) if (!this.#fresh(key)) this.#entries.delete(key);
  }
  #fresh(key: string): { delayMs: number; lastAt: number } | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    return this.#clock.now() - entry.lastAt > this.#options.resetAfterMs ? undefined : entry;
  }
}
