import { rm } from 'node:fs/promises';
import { NamespaceMode } from '../../../api/cri/index.ts';
import { unpinNamespace } from '../../../host/namespaces/index.ts';
import { networkRequest } from '../../sandboxes/network-request.ts';
import type { SandboxRecord } from '../../store/sandbox-record.ts';
import type { DockerContext } from '../docker-context.ts';
import { isConflict, isMissing } from '../engine/index.ts';

/** Gives up what a sandbox keeps while it runs: its network, then its process. May be called again. */
export async function stopSandboxParts(context: DockerContext, record: SandboxRecord): Promise<void> {
  if (record.config.linux?.securityContext?.namespaceOptions?.network !== NamespaceMode.NODE)
    await context.network.detach(networkRequest(record));
  await kill(context, record.id);
  const { network } = record.namespaces;
  if (network) {
    unpinNamespace(network);
    await rm(network, { force: true });
  }
}

/** Gives up all of it. */
export async function releaseSandbox(context: DockerContext, record: SandboxRecord): Promise<void> {
  await stopSandboxParts(context, record);
  await removeFromEngine(context, record.id);
}

/** Removes a container of the engine with its anonymous volumes, running or not; none is no error. */
export async function removeFromEngine({ engine }: DockerContext, id: string): Promise<void> {
  try {
    await engine.delete(`/containers/${id}`, { force: true, v: true });
  } catch (error) {
    // A conflict: it is being removed by another call.
    if (!isMissing(error) && !isConflict(error)) throw error;
  }
}

/** Ends the process; that it has ended, or is gone, is no error. */
async function kill({ engine }: DockerContext, id: string): Promise<void> {
  try {
    await engine.post(`/containers/${id}/kill`, { query: { signal: 'SIGKILL' } });
  } catch (error) {
    if (!isMissing(error) && !isConflict(error)) throw error;
  }
  await engine.post(`/containers/${id}/wait`).catch((error: unknown) => {
    if (!isMissing(error)) throw error;
  });
}
