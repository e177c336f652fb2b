import { ContainerEventType } from '../../api/cri/index.ts';
import { faultPoint } from '../../async/index.ts';
import { stage } from '../calls/index.ts';
import { removeContainer } from '../containers/remove-container.ts';
import { stopContainer } from '../containers/stop-container.ts';
import type { RuntimeContext } from '../context.ts';
import type { SandboxRecord } from '../store/sandbox-record.ts';
import { publishSandbox } from './publish.ts';
import { releaseSandbox, stopSandboxParts } from './release-sandbox.ts';

/** Ends the containers at once and gives the network back; may be called again. */
export function stopSandbox(context: RuntimeContext, sandbox: SandboxRecord): Promise<void> {
  return context.serial.run(sandbox.id, async () => {
    await faultPoint('stop-sandbox:begin');
    await stage('stop its containers', () => stopContainers(context, sandbox));
    await faultPoint('stop-sandbox:containers');
    const wasReady = sandbox.phase === 'ready';
    await stage('give up network and namespaces', () => stopSandboxParts(context, sandbox));
    await faultPoint('stop-sandbox:parts');
    if (!context.store.sandboxes.find(sandbox.id) || !(wasReady || sandbox.network)) return;
    const error = await context.store.sandboxes.note(sandbox.id, {
      phase: 'notReady',
      holder: undefined,
      network: undefined,
      namespaces: {},
    });
    if (error) context.log.error('the end of a sandbox cannot be written down', { id: sandbox.id, error });
    await faultPoint('stop-sandbox:recorded');
    if (wasReady) publishSandbox(context, sandbox, ContainerEventType.CONTAINER_STOPPED_EVENT);
  });
}

/** Stops and forgets a sandbox with its containers; may be called again. */
export async function removeSandbox(context: RuntimeContext, sandbox: SandboxRecord): Promise<void> {
  if (sandbox.phase !== 'notReady') await stopSandbox(context, sandbox);
  await context.serial.run(sandbox.id, async () => {
    if (!context.store.sandboxes.find(sandbox.id)) return;
    await Promise.all(containersOf(context, sandbox).map((container) => removeContainer(context, container)));
    await faultPoint('remove-sandbox:containers');
    await releaseSandbox(context, sandbox);
    await faultPoint('remove-sandbox:released');
    await context.store.sandboxes.delete(sandbox.id);
    context.flights.sandboxes.forget(sandbox.id);
    await faultPoint('remove-sandbox:forgotten');
    publishSandbox(context, sandbox, ContainerEventType.CONTAINER_DELETED_EVENT);
  });
}

const containersOf = (context: RuntimeContext, sandbox: SandboxRecord) =>
  context.store.containers.list().filter(({ sandboxId }) => sandboxId === sandbox.id);

async function stopContainers(context: RuntimeContext, sandbox: SandboxRecord): Promise<void> {
  await Promise.all(containersOf(context, sandbox).map((container) => stopContainer(context, container, 0)));
}
