import type { Clock } from '../../async/index.ts';

/** How many answers are kept; the oldest goes first. */
const most = 4096;

/**
 * Answers that are good for a while. Those who ask for the same at the same time share one question; a failure is not
 * kept.
 */
export class ReviewCache<V> {
  readonly #clock: Clock;
  readonly #lifeMs: (value: V) => number;
  readonly #answers = new Map<string, { value: V; until: number }>();
  readonly #questions = new Map<string, Promise<V>>();

  /** `lifeMs` says how long an answer is good for. */
  constructor(clock: Clock, lifeMs: (value: V) => number) {
    this.#clock = clock;
    this.#lifeMs = lifeMs;
  }

  /** The answer, from memory or by asking. @throws what asking throws */
  get(key: string, ask: () => Promise<V>): Promise<V> {
    const known = this.#answers.get(key);
    if (known && this.#clock.monotonic() < known.until) return Promise.resolve(known.value);
    let question = this.#questions.get(key);
    if (!question) {
      question = ask()
        .then((value) => this.#keep(key, value))
        .finally(() => this.#questions.delete(key));
      this.#questions.set(key, question);
    }
    return question;
  }

  #keep(key: string, value: V): V {
    this.#answers.delete(key);
    const lifeMs = this.#lifeMs(value);
    if (lifeMs > 0) this.#answers.set(key, { value, until: this.#clock.monotonic() + lifeMs });
    if (this.#answers.size > most) this.#answers.delete(this.#answers.keys().next().value!);
    return value;
  }
}
