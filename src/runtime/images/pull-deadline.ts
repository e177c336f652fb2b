import type { Clock, Timer } from '../../async/index.ts';
import { ImageError } from './image-error.ts';

/** Ends a pull in which nothing has come for too long, whatever it tries meanwhile. */
export class PullDeadline implements Disposable {
  /** Aborts when time is up. */
  readonly signal: AbortSignal;
  readonly #controller = new AbortController();
  readonly #clock: Clock;
  readonly #limitMs: number;
  #last: number;
  #timer: Timer | undefined;

  constructor(clock: Clock, limitMs: number) {
    this.#clock = clock;
    this.#limitMs = limitMs;
    this.#last = clock.monotonic();
    this.signal = this.#controller.signal;
    this.#watch(limitMs);
  }

  /** Something has come. */
  progress(): void {
    this.#last = this.#clock.monotonic();
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel();
  }

  #watch(afterMs: number): void {
    this.#timer = this.#clock.after(afterMs, () => {
      const left = this.#last + this.#limitMs - this.#clock.monotonic();
      if (left > 0) return this.#watch(left);
      const seconds = Math.round(this.#limitMs / 1000);
      this.#controller.abort(
        new ImageError('DEADLINE_EXCEEDED', `pull made no progress: nothing came for ${seconds} seconds`),
      );
    });
  }
}
