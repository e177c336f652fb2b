import type { Clock } from '../../async/index.ts';

/**
 * Calls back when `lastActivity` is `idleMs` ago. Looks again only when that may be so. Ends with the signal.
 */
export function watchIdle(
  clock: Clock,
  idleMs: number,
  lastActivity: () => number,
  signal: AbortSignal,
  onIdle: () => void,
): void {
  const look = (): void => {
    if (signal.aborted) return;
    const left = lastActivity() + idleMs - clock.monotonic();
    if (left <= 0) onIdle();
    else timer = clock.after(left, look);
  };
  let timer = clock.after(idleMs, look);
  signal.addEventListener('abort', () => timer.cancel(), { once: true });
}
