import type { ContainerEventType } from '../../api/cri/index.ts';
import type { RecordContext } from '../context.ts';
import { makeEvent } from '../events/make-event.ts';
import type { ContainerRecord } from '../store/container-record.ts';

/** Tells listeners what has happened to a container. */
export function publishContainer(context: RecordContext, record: ContainerRecord, type: ContainerEventType): void {
  const sandbox = context.store.sandboxes.find(record.sandboxId);
  context.events.publish(makeEvent(context, { containerId: record.id, type, sandbox }));
}
