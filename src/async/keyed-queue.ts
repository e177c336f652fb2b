import { Backoff } from './backoff.ts';
import { type Clock, systemClock, type Timer } from './clock.ts';

/** How a {@link KeyedQueue} works through its keys. */
export interface KeyedQueueOptions {
  /** Handlers at work at once, over different keys. Default 4. */
  concurrency?: number;
  /** First retry delay after a failed handler, milliseconds. Default 10. */
  retryInitialMs?: number;
  /** Longest retry delay, milliseconds. Default 30,000. */
  retryMaximumMs?: number;
  clock?: Clock;
  /** Told of each failure, before the retry. */
  onError?: (key: string, error: unknown) => void;
}

/**
 * A level-triggered queue. It holds keys, not events: a key added many times before its turn is handled once.
 *
 * Invariants: one handler per key at a time; a key added while its handler runs is handled once more afterwards;
 * a failed handler is tried again with exponential back-off, which a new add() does not shorten.
 */
export class KeyedQueue {
  readonly #handler: (key: string, signal: AbortSignal) => Promise<void> | void;
  readonly #concurrency: number;
  readonly #clock: Clock;
  readonly #backoff: Backoff;
  readonly #onError: (key: string, error: unknown) => void;
  readonly #waiting = new Set<string>();
  readonly #running = new Set<string>();
  readonly #dirty = new Set<string>();
  readonly #delayed = new Map<string, { timer: Timer; at: number }>();
  readonly #stop = new AbortController();
  #idle: (() => void)[] = [];

  constructor(handler: (key: string, signal: AbortSignal) => Promise<void> | void, options: KeyedQueueOptions = {}) {
    this.#handler = handler;
    this.#concurrency = options.concurrency ?? 4;
    this.#clock = options.clock ?? systemClock;
    this.#onError = options.onError ?? (() => {});
    this.#backoff = new Backoff(
      { initialMs: options.retryInitialMs ?? 10, maximumMs: options.retryMaximumMs ?? 30_000 },
      this.#clock,
    );
  }

  /** Asks for the key to be handled soon. */
  add(key: string): void {
    if (this.#stop.signal.aborted) return;
    const delayed = this.#delayed.get(key);
    if (delayed) {
      delayed.timer.cancel();
      this.#delayed.delete(key);
    }
    if (this.#running.has(key)) this.#dirty.add(key);
    else {
      this.#waiting.add(key);
      queueMicrotask(() => this.#pump());
    }
  }

  /** Asks for the key to be handled after `ms`; an earlier request stands. */
  addAfter(key: string, ms: number): void {
    if (ms <= 0) return this.add(key);
    if (this.#stop.signal.aborted || this.#waiting.has(key)) return;
    const at = this.#clock.monotonic() + ms;
    const delayed = this.#delayed.get(key);
    if (delayed) {
      if (delayed.at <= at) return;
      delayed.timer.cancel();
    }
    const timer = this.#clock.after(ms, () => {
      this.#delayed.delete(key);
      this.add(key);
    });
    this.#delayed.set(key, { timer, at });
  }

  /** Stops taking keys, tells running handlers through their signal, and waits for them. */
  async stop(): Promise<void> {
    this.#stop.abort(new Error('queue stopped'));
    for (const { timer } of this.#delayed.values()) timer.cancel();
    this.#delayed.clear();
    this.#waiting.clear();
    this.#dirty.clear();
    await this.idle();
  }

  /** Resolves when nothing waits and nothing runs (delayed keys do not count). */
  idle(): Promise<void> {
    if (this.#waiting.size === 0 && this.#running.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Keys waiting or running. */
  get size(): number {
    return this.#waiting.size + this.#running.size;
  }

  #pump(): void {
    for (const key of this.#waiting) {
      if (this.#running.size >= this.#concurrency) return;
      this.#waiting.delete(key);
      this.#running.add(key);
      void this.#handle(key);
    }
  }

  async #handle(key: string): Promise<void> {
    try {
      await this.#handler(key, this.#stop.signal);
      this.#backoff.reset(key);
      this.#finish(key);
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#onError(key, error);
      this.#dirty.delete(key);
      this.#finish(key);
      this.addAfter(key, this.#backoff.next(key));
    }
  }

  #finish(key: string): void {
    this.#running.delete(key);
    if (this.#dirty.delete(key) && !this.#stop.signal.aborted) this.#waiting.add(key);
    this.#pump();
    if (this.#waiting.size === 0 && this.#running.size === 0) {
      for (const resolve of this.#idle) resolve();
      this.#idle = [];
    }
  }
}
