import type { ContainerEventType } from '../../api/cri/index.ts';

/** Something that happened to a container or to a sandbox (whose id is then the container id). */
export interface RuntimeEvent {
  containerId: string;
  sandboxId: string;
  type: ContainerEventType;
  createdAtNs: bigint;
}

const queueLimit = 10_000;

/** Hands events to everybody who listens, in order. A listener who does not read loses the oldest beyond a limit. */
export class EventHub {
  readonly #listeners = new Set<{ queue: RuntimeEvent[]; wake: () => void }>();

  publish(event: RuntimeEvent): void {
    for (const listener of this.#listeners) {
      if (listener.queue.length >= queueLimit) listener.queue.shift();
      listener.queue.push(event);
      listener.wake();
    }
  }

  /** The events from now on, until the signal aborts. */
  async *subscribe(signal: AbortSignal): AsyncIterable<RuntimeEvent> {
    const listener = { queue: [] as RuntimeEvent[], wake: () => {} };
    this.#listeners.add(listener);
    const onAbort = (): void => listener.wake();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      while (!signal.aborted) {
        const next = listener.queue.shift();
        if (next) yield next;
        else
          await new Promise<void>((resolve) => {
            listener.wake = resolve;
            if (signal.aborted || listener.queue.length > 0) resolve();
          });
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#listeners.delete(listener);
    }
  }
}
