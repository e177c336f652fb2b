import { ContainerEventType } from '../../api/cri/index.ts';
import { faultPoint } from '../../async/index.ts';
import { stage } from '../calls/index.ts';
import type { RuntimeContext } from '../context.ts';
import type { ContainerRecord } from '../store/container-record.ts';
import { removeTree } from '../store/json-file.ts';
import { publishContainer } from './publish.ts';
import { stopContainer } from './stop-container.ts';
import { clearTask } from './task-cleanup.ts';

/** Forgets a container with all that it wrote, killing it first if it runs; may be called again. */
export async function removeContainer(context: RuntimeContext, record: ContainerRecord): Promise<void> {
  await stopContainer(context, record, 0);
  // Its end may just be taken down: wait for that.
  await context.serial.run(`exit ${record.id}`, () => {});
  await context.serial.run(record.id, async () => {
    if (!context.store.containers.find(record.id)) return;
    await faultPoint('remove-container:begin');
    await releaseContainer(context, record);
    await faultPoint('remove-container:released');
    await context.store.containers.delete(record.id);
    context.flights.containers.forget(record.id);
    await faultPoint('remove-container:forgotten');
    publishContainer(context, record, ContainerEventType.CONTAINER_DELETED_EVENT);
  });
}

/** Gives up everything that a container has but its record. */
export async function releaseContainer(context: RuntimeContext, record: ContainerRecord): Promise<void> {
  await stage('clear the task', () => clearTask(context, record));
  await faultPoint('release-container:task');
  await stage('remove the root file system', () =>
    Promise.all([record.id, ...record.imageMounts].map((key) => context.rootfs.remove(key))),
  );
  await faultPoint('release-container:rootfs');
  await removeTree(context.paths.bundle(record.id));
  await faultPoint('release-container:bundle');
  await context.forgetExit(record.id);
}
