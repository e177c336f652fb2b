import { type Clock, unlessAborted } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';

/** Time between two lines about the same wait, milliseconds. */
const lineMs = 10_000;

/** Waits for something that others have to do first, and says every ten seconds what it is. @throws the signal's reason */
export async function waitFor<T>(
  what: string,
  promise: Promise<T>,
  { log, clock, signal }: { log: Logger; clock: Clock; signal: AbortSignal },
): Promise<T> {
  const startedAt = clock.monotonic();
  let timer = clock.after(lineMs, function tell() {
    log.warn('still waiting', { for: what, seconds: Math.round((clock.monotonic() - startedAt) / 1000) });
    timer = clock.after(lineMs, tell);
  });
  try {
    return await unlessAborted(promise, signal);
  } finally {
    timer.cancel();
  }
}
