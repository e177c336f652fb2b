import { type Clock, systemClock } from './clock.ts';

/** Lets so much through a second, and so much at once after a quiet time. Those who wait go in the order in which they came. */
export class TokenBucket {
  #perSecond: number;
  #burst: number;
  readonly #clock: Clock;
  /** Below zero: who waits has taken it already. */
  #tokens: number;
  #at: number;

  constructor(options: { perSecond: number; burst: number; clock?: Clock }) {
    this.#perSecond = options.perSecond;
    this.#burst = Math.max(1, options.burst);
    this.#clock = options.clock ?? systemClock;
    this.#tokens = this.#burst;
    this.#at = this.#clock.monotonic();
  }

  /** Takes other limits; who waits already goes by the old ones. */
  change(options: { perSecond: number; burst: number }): void {
    this.#perSecond = options.perSecond;
    this.#burst = Math.max(1, options.burst);
    this.#tokens = Math.min(this.#tokens, this.#burst);
  }

  /** Waits for one's turn. @throws the signal's reason; the turn goes to the next then */
  async take(signal?: AbortSignal): Promise<void> {
    const now = this.#clock.monotonic();
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#at) * this.#perSecond) / 1000);
    this.#at = now;
    this.#tokens--;
    if (this.#tokens >= 0) return;
    try {
      await this.#clock.sleep((-this.#tokens * 1000) / this.#perSecond, signal);
    } catch (error) {
      this.#tokens++;
      throw error;
    }
  }
}
