import type { Clock } from '../../async/index.ts';

/** A value that is read when it is asked for, and kept for a moment. Those who ask at the same time share one reading. */
export class Fresh<T> {
  readonly #clock: Clock;
  readonly #forMs: number;
  readonly #read: () => Promise<T>;
  #known: { value: T; at: number } | undefined;
  #reading: Promise<T> | undefined;

  constructor(clock: Clock, forMs: number, read: () => Promise<T>) {
    this.#clock = clock;
    this.#forMs = forMs;
    this.#read = read;
  }

  /** @throws what reading throws, which is not kept */
  get(): Promise<T> {
    if (this.#known && this.#clock.monotonic() - this.#known.at < this.#forMs)
      return Promise.resolve(this.#known.value);
    this.#reading ??= this.#read()
      .then((value) => {
        this.#known = { value, at: this.#clock.monotonic() };
        return value;
      })
      .finally(() => {
        this.#reading = undefined;
      });
    return this.#reading;
  }
}
