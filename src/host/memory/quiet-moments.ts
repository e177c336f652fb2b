import type { Clock } from '../../async/index.ts';
import { releaseMemory } from './release-memory.ts';

/** How often it is looked whether the moment is quiet, milliseconds. */
const lookMs = 10_000;
/** Processor time that was used meanwhile, as a share of a processor, below which a moment is quiet. */
const quietShare = 0.1;

/** Components that share a process share its memory: one of them looks. */
let isWatched = false;

/**
 * After a burst (the start, a hundred pods at once) memory stays as large as it was at its worst. In the first quiet moment
 * after it, what is not used any more is given back. Ends with the signal.
 */
export async function releaseInQuietMoments(clock: Clock, signal: AbortSignal): Promise<void> {
  if (isWatched) return;
  isWatched = true;
  let wasBusy = true;
  let before = process.cpuUsage();
  for (;;) {
    await clock.sleep(lookMs, signal).catch(() => {});
    if (signal.aborted) break;
    const { user, system } = process.cpuUsage(before);
    before = process.cpuUsage();
    const isBusy = (user + system) / 1000 > lookMs * quietShare;
    if (wasBusy && !isBusy) releaseMemory();
    wasBusy = isBusy;
  }
  isWatched = false;
}
