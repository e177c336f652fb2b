import { Backoff, type Clock, unlessAborted } from '../../async/index.ts';

/** Delays between tries of an operation on a volume, milliseconds. */
const delays = { initialMs: 500, maximumMs: 122_000 };

/**
 * Tries operations until they succeed, with growing delays that outlive a caller's patience; whoever knows that
 * something has changed for the better ends a delay early.
 */
export class Attempts {
  readonly #clock: Clock;
  readonly #backoff: Backoff;
  /** When a key may be tried next, on the monotonic clock. */
  readonly #nextAt = new Map<string, number>();
  readonly #sleepers = new Map<string, Set<() => void>>();
  /** How often an owner was woken while a task of its own ran: a failure in that time may be outdated. */
  readonly #news = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#backoff = new Backoff(delays, clock);
  }

  /**
   * Runs the task until it succeeds. `owner` is who may be woken.
   * @throws the signal's reason
   */
  async until<T>(
    key: string,
    options: { owner: string; signal: AbortSignal; onFailure: (error: unknown) => void },
    task: () => Promise<T>,
  ): Promise<T> {
    const { owner, signal, onFailure } = options;
    for (;;) {
      await this.#wait(key, owner, signal);
      const news = this.#news.get(owner);
      try {
        // The caller may give up; the task goes on, in its turn.
        const result = await unlessAborted(task(), signal);
        this.forget(key);
        return result;
      } catch (error) {
        signal.throwIfAborted();
        const delayMs = this.#backoff.next(key);
        if (this.#news.get(owner) === news) this.#nextAt.set(key, this.#clock.monotonic() + delayMs);
        onFailure(error);
      }
    }
  }

  /** Ends the delays of an owner: something that it may have waited for has happened. */
  wake(owner: string): void {
    this.#news.set(owner, (this.#news.get(owner) ?? 0) + 1);
    for (const wake of this.#sleepers.get(owner) ?? []) wake();
  }

  forget(key: string): void {
    this.#nextAt.delete(key);
    this.#backoff.reset(key);
  }

  /** Forgets an owner and its keys, which begin with its name and a stroke. */
  forgetOwner(owner: string): void {
    this.#news.delete(owner);
    for (const key of this.#nextAt.keys()) if (key.startsWith(`${owner}/`)) this.forget(key);
  }

  async #wait(key: string, owner: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const ms = (this.#nextAt.get(key) ?? 0) - this.#clock.monotonic();
    if (ms <= 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = this.#clock.after(ms, resolve);
    const sleepers = this.#sleepers.get(owner) ?? new Set();
    this.#sleepers.set(owner, sleepers.add(resolve));
    try {
      await unlessAborted(promise, signal);
    } finally {
      timer.cancel();
      sleepers.delete(resolve);
      if (sleepers.size === 0) this.#sleepers.delete(owner);
    }
  }
}
