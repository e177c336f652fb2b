import { annotations } from './names.ts';
import type { RuntimeContainer } from './runtime-state.ts';

/** First delay before a container that keeps ending is started again, milliseconds; each doubles the one before. */
const initialMs = 10_000;
/** A container that ran for longer starts over, milliseconds. */
const forgottenAfterMs = 600_000;

/** What is left of a container's crash back-off, and the whole, milliseconds. */
export interface CrashDelay {
  remainingMs: number;
  delayMs: number;
}

/**
 * The delay between the end of a container and the start of the next of its name, milliseconds.
 *
 * It is kept by the runtime: each container carries in an annotation what its own end will cost, so that a restarted
 * kubelet goes on where the last one was. A changed image (another hash) and a long run start over; containers that another
 * kubelet has made are judged by how often they were restarted.
 */
export function crashDelay(ended: RuntimeContainer, hash: string, maximumMs: number): number {
  if (ended.hash !== '' && ended.hash !== hash) return 0;
  if (ended.startedAt > 0 && ended.finishedAt - ended.startedAt > forgottenAfterMs) return 0;
  const noted = ended.annotations[annotations.crashDelay];
  const byCount = ended.restartCount === 0 ? 0 : initialMs * 2 ** Math.min(20, ended.restartCount - 1);
  const delayMs = noted !== undefined && /^\d+$/.test(noted) ? Number(noted) : byCount;
  return Math.min(delayMs, maximumMs);
}

/** The delay that the end of a container will cost which is started after `delayMs`. The first restart costs nothing. */
export function nextCrashDelay(delayMs: number | undefined, maximumMs: number): number {
  if (delayMs === undefined) return 0;
  return Math.min(delayMs === 0 ? initialMs : delayMs * 2, maximumMs);
}

/** What is still to wait. `monotonicMs` is the time now on the clock that does not jump. */
export function remainingDelay(ended: RuntimeContainer, delayMs: number, monotonicMs: number): number {
  const since = ended.endedMonotonic ?? monotonicMs;
  return Math.max(0, Math.min(delayMs, since + delayMs - monotonicMs));
}
