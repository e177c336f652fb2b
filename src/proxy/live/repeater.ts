import type { Clock, Timer } from '../../async/index.ts';

/** Does something again and again, with a pause that may change. */
export class Repeater {
  readonly #clock: Clock;
  readonly #pauseMs: () => number;
  readonly #work: () => Promise<void>;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(clock: Clock, pauseMs: () => number, work: () => Promise<void>) {
    this.#clock = clock;
    this.#pauseMs = pauseMs;
    this.#work = work;
  }

  /** Begins a pause, also anew: after the time that counts now, the work is done. */
  restart(): void {
    this.#timer?.cancel();
    if (this.#stopped) return;
    this.#timer = this.#clock.after(this.#pauseMs(), () => void this.#work().finally(() => this.restart()));
  }
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }
}
