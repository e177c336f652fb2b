import type { ContainerEventType } from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';
import { toNanoseconds } from '../identifiers.ts';
import type { ContainerRecord } from '../store/container-record.ts';

/** Tells listeners what has happened to a container. */
export function publishContainer(context: RuntimeContext, record: ContainerRecord, type: ContainerEventType): void {
  context.events.publish({
    containerId: record.id,
    sandboxId: record.sandboxId,
    type,
    createdAtNs: toNanoseconds(context.clock.now()),
  });
}
