import type { ContainerEventType } from '../../api/cri/index.ts';
import type { RecordContext } from '../context.ts';
import { makeEvent } from '../events/make-event.ts';
import type { SandboxRecord } from '../store/sandbox-record.ts';

/** Tells listeners what has happened to a sandbox: such events carry its id as that of a container. */
export function publishSandbox(context: RecordContext, sandbox: SandboxRecord, type: ContainerEventType): void {
  context.events.publish(makeEvent(context, { containerId: sandbox.id, type, sandbox }));
}
