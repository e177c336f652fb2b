import type { RuntimeContext } from '../context.ts';
import { toContainerStatus, toSandboxStatus } from './convert.ts';

/** GetContainerEvents: what happens to containers and sandboxes from now on, each with the status of the whole pod. */
export async function* getContainerEvents(context: RuntimeContext, signal: AbortSignal) {
  for await (const event of context.events.subscribe(signal)) {
    const sandbox = context.store.sandboxes.find(event.sandboxId);
    const containers = context.store.containers.list().filter(({ sandboxId }) => sandboxId === event.sandboxId);
    yield {
      containerId: event.containerId,
      containerEventType: event.type,
      createdAt: event.createdAtNs,
      ...(sandbox ? { podSandboxStatus: toSandboxStatus(sandbox) } : {}),
      containersStatuses: containers.map(toContainerStatus),
    };
  }
}
