import type { ContainerEventResponse } from '../../api/cri/index.ts';
import { RuntimeError } from '../errors.ts';

/** Events that a listener may be behind, and events that are kept for those who come back. */
const defaults = { behind: 4096, kept: 1024 };

interface Listener {
  queue: ContainerEventResponse[];
  overrun: boolean;
  wake: () => void;
}

/**
 * Hands events to everybody who listens, in order. Each is made when it happens, with the statuses of that moment, and
 * its time is later than that of the one before: so the time of the last event that a listener has seen tells where to
 * go on.
 */
export class EventHub {
  readonly #listeners = new Set<Listener>();
  readonly #kept: ContainerEventResponse[] = [];
  readonly #limits: typeof defaults;
  #lastNs = 0n;
  /** Time of the newest event that is kept no more. */
  #forgottenNs: bigint;

  /** @param beganNs from when on events are told; who has seen none since then has missed some */
  constructor(limits: Partial<typeof defaults> = {}, beganNs = 0n) {
    this.#limits = { ...defaults, ...limits };
    this.#forgottenNs = beganNs;
  }

  /** How many listen. */
  get listeners(): number {
    return this.#listeners.size;
  }

  /** Tells everybody. The event's time is moved on when it is not later than the last one's. */
  publish(event: ContainerEventResponse): void {
    if (event.createdAt <= this.#lastNs) event.createdAt = this.#lastNs + 1n;
    this.#lastNs = event.createdAt;
    this.#kept.push(event);
    if (this.#kept.length > this.#limits.kept) this.#forgottenNs = this.#kept.shift()!.createdAt;
    for (const listener of this.#listeners) {
      if (listener.queue.length >= this.#limits.behind) {
        // It must learn that it missed something: it is told when it has read what is there.
        listener.overrun = true;
        this.#listeners.delete(listener);
      } else listener.queue.push(event);
      listener.wake();
    }
  }

  /**
   * The events from now on, or those after a moment and then the rest, until the signal aborts.
   * @throws RuntimeError DATA_LOSS when the listener is too far behind, or comes back too late: it has to list
   */
  async *subscribe(signal: AbortSignal, afterNs?: bigint): AsyncIterable<ContainerEventResponse> {
    if (afterNs !== undefined && afterNs < this.#forgottenNs)
      throw new RuntimeError('DATA_LOSS', 'events after that moment are kept no more: list, and listen anew');
    const queue = afterNs === undefined ? [] : this.#kept.filter(({ createdAt }) => createdAt > afterNs);
    const listener: Listener = { queue, overrun: false, wake: () => {} };
    this.#listeners.add(listener);
    const onAbort = (): void => listener.wake();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      while (!signal.aborted) {
        const next = listener.queue.shift();
        if (next) yield next;
        else if (listener.overrun)
          throw new RuntimeError(
            'DATA_LOSS',
            `the reader of events was more than ${this.#limits.behind} behind: list, and listen anew`,
          );
        else
          await new Promise<void>((resolve) => {
            listener.wake = resolve;
            if (signal.aborted || listener.overrun || listener.queue.length > 0) resolve();
          });
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#listeners.delete(listener);
    }
  }
}
