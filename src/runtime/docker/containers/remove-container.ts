import { ContainerEventType } from '../../../api/cri/index.ts';
import { publishContainer } from '../../containers/publish.ts';
import type { DockerContext } from '../docker-context.ts';
import { removeFromEngine } from '../sandboxes/release-sandbox.ts';
import { stopContainer } from './stop-container.ts';

/** Removes a container, ending it at once when it runs; none is no error. */
export async function removeContainer(context: DockerContext, givenId: string): Promise<void> {
  const found = context.store.containers.find(givenId);
  if (!found) return;
  await stopContainer(context, found.id, 0);
  await context.serial.run(found.id, async () => {
    const record = context.store.containers.find(found.id);
    if (!record) return;
    await context.logs.end(record.id);
    await removeFromEngine(context, record.id);
    await context.store.containers.delete(record.id);
    context.rootfs.forget(record.id);
    context.flights.containers.forget(record.id);
    publishContainer(context, record, ContainerEventType.CONTAINER_DELETED_EVENT);
  });
}
