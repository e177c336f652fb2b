import { create } from '@bufbuild/protobuf';
import {
  type ContainerEventResponse,
  ContainerEventResponseSchema,
  type ContainerEventType,
} from '../../api/cri/index.ts';
import type { RecordContext } from '../context.ts';
import { toContainerStatus, toSandboxStatus } from '../cri/convert.ts';
import { toNanoseconds } from '../identifiers.ts';
import type { SandboxRecord } from '../store/sandbox-record.ts';

/** An event of now, with the statuses of the sandbox and of all its containers as they are now. */
export function makeEvent(
  context: RecordContext,
  about: { containerId: string; type: ContainerEventType; sandbox: SandboxRecord | undefined },
): ContainerEventResponse {
  const { containerId, type, sandbox } = about;
  const containers = context.store.containers.list().filter(({ sandboxId }) => sandboxId === sandbox?.id);
  return create(ContainerEventResponseSchema, {
    containerId,
    containerEventType: type,
    createdAt: toNanoseconds(context.clock.now()),
    ...(sandbox ? { podSandboxStatus: toSandboxStatus(sandbox) } : {}),
    containersStatuses: containers.map(toContainerStatus),
  });
}
