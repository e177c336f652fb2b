import { ContainerEventType } from '../../../api/cri/index.ts';
import { publishSandbox } from '../../sandboxes/publish.ts';
import type { SandboxRecord } from '../../store/sandbox-record.ts';
import { removeContainer } from '../containers/remove-container.ts';
import { stopContainer } from '../containers/stop-container.ts';
import type { DockerContext } from '../docker-context.ts';
import { releaseSandbox, stopSandboxParts } from './release-sandbox.ts';

const containersOf = ({ store }: DockerContext, id: string) =>
  store.containers.list().filter(({ sandboxId }) => sandboxId === id);

/** Stops a sandbox with all its containers; may be called again, and for one that is not there. */
export async function stopSandbox(context: DockerContext, id: string): Promise<void> {
  const found = context.store.sandboxes.find(id);
  if (!found) return;
  await context.serial.run(found.id, async () => {
    const record = context.store.sandboxes.find(found.id);
    if (!record) return;
    await Promise.all(containersOf(context, record.id).map((one) => stopContainer(context, one.id, 0)));
    await stopSandboxParts(context, record);
    await markStopped(context, record);
  });
}

/** Notes that a sandbox runs no more, and tells. */
export async function markStopped(context: DockerContext, record: SandboxRecord): Promise<void> {
  if (record.phase === 'notReady') return;
  await context.store.sandboxes.note(record.id, { phase: 'notReady' });
  publishSandbox(context, record, ContainerEventType.CONTAINER_STOPPED_EVENT);
}

/** Removes a sandbox with all its containers; none is no error. */
export async function removeSandbox(context: DockerContext, id: string): Promise<void> {
  const found = context.store.sandboxes.find(id);
  if (!found) return;
  await stopSandbox(context, found.id);
  await Promise.all(containersOf(context, found.id).map((one) => removeContainer(context, one.id)));
  await context.serial.run(found.id, async () => {
    const record = context.store.sandboxes.find(found.id);
    if (!record) return;
    await releaseSandbox(context, record);
    await context.store.sandboxes.delete(record.id);
    context.flights.sandboxes.forget(record.id);
    publishSandbox(context, record, ContainerEventType.CONTAINER_DELETED_EVENT);
  });
}
