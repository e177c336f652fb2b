import type { Clock } from '../../async/index.ts';

/** How many pulls at once and how fast. */
export interface PullQueueOptions {
  clock: Clock;
  /** Pulls at once; undefined for any number. */
  maximumParallel?: number;
  /** Pulls that may start in a second, and in a burst; 0 for no limit. */
  pullsPerSecond: number;
  burst: number;
}

/** Raised when pulls are asked for faster than allowed. */
export class PullRateError extends Error {
  readonly code = 'PULL_QPS_EXCEEDED';
}

/** Lets a limited number of pulls run at once, first come first served; refuses those beyond the allowed rate. */
export class PullQueue {
  readonly #options: PullQueueOptions;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #tokens: number;
  #tokensAt: number;

  constructor(options: PullQueueOptions) {
    this.#options = options;
    this.#tokens = options.burst;
    this.#tokensAt = options.clock.monotonic();
  }

  /** Runs the pull in its turn; a pull whose signal aborts while it waits gives up its turn. @throws PullRateError */
  async run<T>(pull: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    this.#takeToken();
    await this.#turn(signal);
    try {
      signal?.throwIfAborted();
      return await pull();
    } finally {
      this.#running--;
      this.#next();
    }
  }

  #takeToken(): void {
    const { clock, pullsPerSecond, burst } = this.#options;
    if (pullsPerSecond <= 0) return;
    const now = clock.monotonic();
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#tokensAt) / 1000) * pullsPerSecond);
    this.#tokensAt = now;
    if (this.#tokens < 1) throw new PullRateError('pull QPS exceeded');
    this.#tokens--;
  }

  #turn(signal?: AbortSignal): Promise<void> {
    const { maximumParallel } = this.#options;
    if (maximumParallel === undefined || this.#running < maximumParallel) {
      this.#running++;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const go = (): void => {
        signal?.removeEventListener('abort', giveUp);
        this.#running++;
        resolve();
      };
      const giveUp = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(go), 1);
        reject(signal!.reason);
      };
      signal?.addEventListener('abort', giveUp, { once: true });
      this.#waiting.push(go);
    });
  }

  #next(): void {
    const { maximumParallel } = this.#options;
    if (maximumParallel === undefined || this.#running < maximumParallel) this.#waiting.shift()?.();
  }
}
