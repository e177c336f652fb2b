import { objectOf } from '../../store/index.ts';
import type { Core } from '../core.ts';

/** How long an event stays after it was last seen, as upstream keeps it. */
const eventLifetimeMs = 3_600_000;
const sweepIntervalMs = 300_000;

/** Deletes events an hour after they were last seen. Returns how to stop. */
export function expireEvents(core: Core): () => void {
  let stopped = false;
  let timer: { cancel(): void };
  const sweep = async (): Promise<void> => {
    const oldest = core.clock.now() - eventLifetimeMs;
    for (const stored of core.store.collection('events').list()) {
      if (stopped) return;
      if (lastSeen(objectOf(stored)) < oldest) await core.registry.delete('events', stored.namespace, stored.name);
    }
  };
  const plan = (): void => {
    timer = core.clock.after(sweepIntervalMs, () => {
      sweep().catch((error: unknown) => core.log.warn('old events could not be deleted', { error }));
      if (!stopped) plan();
    });
  };
  plan();
  return () => {
    stopped = true;
    timer.cancel();
  };
}

function lastSeen(event: any): number {
  const times = [
    event.metadata.creationTimestamp,
    event.lastTimestamp,
    event.eventTime,
    event.series?.lastObservedTime,
  ].map((time) => (time ? Date.parse(time) : 0));
  return Math.max(...times.filter((time) => !Number.isNaN(time)));
}
