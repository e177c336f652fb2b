import type { CallContext } from '../../wire/grpc/index.ts';
import type { RecordContext } from '../context.ts';
import { invalid } from '../errors.ts';

/**
 * Metadata of a GetContainerEvents call with which a reader that comes back goes on: the `created_at` of the last event
 * that it has seen.
 */
export const eventsAfter = 'deckhand-events-after';

/** GetContainerEvents: what happens to containers and sandboxes from now on, each with the status of the whole pod. */
export function getContainerEvents(context: RecordContext, { signal, metadata }: CallContext) {
  const after = metadata(eventsAfter);
  if (after !== undefined && !/^\d{1,19}$/.test(after))
    throw invalid(`metadata ${eventsAfter} must be the created_at of an event, not "${after}"`);
  return context.events.subscribe(signal, after === undefined ? undefined : BigInt(after));
}
