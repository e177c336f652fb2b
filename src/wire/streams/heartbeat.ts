import type { Clock } from '../../async/index.ts';

/** How often a peer is written to, milliseconds. */
const heartbeatMs = 5_000;

/**
 * Writes to a peer now and then until the signal aborts. A connection from which nothing is read, because somebody does
 * not take what has come, would not show that its peer has gone; writing to it does.
 */
export function keepBeating(clock: Clock, signal: AbortSignal, beat: () => void): void {
  const next = (): void => {
    if (signal.aborted) return;
    beat();
    timer = clock.after(heartbeatMs, next);
  };
  let timer = clock.after(heartbeatMs, next);
  signal.addEventListener('abort', () => timer.cancel(), { once: true });
}
