import type { Clock, Timer } from '../../async/index.ts';

/** A timer that fires later than this was held up by our own work, milliseconds. */
const heldUpMs = 20;

/**
 * A signal that aborts when the time is up, as far as this process could have seen an answer: while it was busy with
 * something else, an answer may have come that nobody has read yet. Whoever is late here is given that time again, and
 * what has arrived is read before the time is declared over.
 */
export class FairTimeout {
  readonly #abort = new AbortController();
  readonly #clock: Clock;
  #timer: Timer | undefined;
  #ended = false;

  constructor(clock: Clock, timeoutMs: number) {
    this.#clock = clock;
    this.#arm(timeoutMs);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Whether the time was over. */
  get isOver(): boolean {
    return this.#abort.signal.aborted;
  }

  /** The work is done: nothing is aborted any more. */
  cancel(): void {
    this.#ended = true;
    this.#timer?.cancel();
  }

  #arm(ms: number): void {
    const due = this.#clock.monotonic() + ms;
    this.#timer = this.#clock.after(ms, () => {
      const lateMs = this.#clock.monotonic() - due;
      if (lateMs > heldUpMs) return this.#arm(lateMs);
      // Timers run before sockets are looked at: let what has come be read first, twice (a header, then its body).
      setImmediate(() =>
        setImmediate(() => {
          if (!this.#ended) this.#abort.abort(new Error('timed out'));
        }),
      );
    });
  }
}
