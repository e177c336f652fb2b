import type { Readable } from 'node:stream';
import type { Clock } from '../../async/index.ts';

/** A profile is being taken already: only one at a time can be. */
export class ProfileTakenError extends Error {}

let profiling = false;

/** What the processor does for this process in a span of time, as browsers' developer tools read it (.cpuprofile). The signal ends it early. */
export async function takeCpuProfile(ms: number, clock: Clock, signal: AbortSignal): Promise<object> {
  if (profiling) throw new ProfileTakenError('a profile is being taken already: try again when it is done');
  profiling = true;
  const { Session } = await import('node:inspector/promises');
  const session = new Session();
  try {
    session.connect();
    await session.post('Profiler.enable');
    await session.post('Profiler.start');
    await clock.sleep(ms, signal).catch(() => {});
    const { profile } = await session.post('Profiler.stop');
    return profile;
  } finally {
    session.disconnect();
    profiling = false;
  }
}

/** What is in memory, as browsers' developer tools read it (.heapsnapshot). */
export async function takeHeapSnapshot(): Promise<Readable> {
  const { getHeapSnapshot } = await import('node:v8');
  return getHeapSnapshot();
}
