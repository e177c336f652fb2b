import { type MessageInitShape, toJson } from '@bufbuild/protobuf';
import {
  PodSandboxConfigSchema,
  type PodSandboxStatusRequest,
  type PodSandboxStatusResponseSchema,
} from '../../api/cri/index.ts';
import type { RecordContext } from '../context.ts';
import { toNanoseconds } from '../identifiers.ts';
import { toContainerStatus, toSandboxStatus } from './convert.ts';

/** PodSandboxStatus: a sandbox with its addresses and the statuses of its containers; with `verbose`, how it is made too. */
export function podSandboxStatus(
  context: RecordContext,
  request: PodSandboxStatusRequest,
): MessageInitShape<typeof PodSandboxStatusResponseSchema> {
  const record = context.store.sandboxes.get(request.podSandboxId);
  const { namespaces, holder, network, cgroupParent } = record;
  const containers = context.store.containers.list().filter(({ sandboxId }) => sandboxId === record.id);
  return {
    status: toSandboxStatus(record),
    containersStatuses: containers.map(toContainerStatus),
    timestamp: toNanoseconds(context.clock.now()),
    info: (request.verbose
      ? {
          info: JSON.stringify({
            pid: holder?.pid ?? 0,
            namespaces,
            network,
            cgroupParent,
            netNsPath: namespaces.network,
            // In the form in which crictl takes it.
            config: toJson(PodSandboxConfigSchema, record.config, { useProtoFieldName: true }),
          }),
        }
      : {}) as Record<string, string>,
  };
}
