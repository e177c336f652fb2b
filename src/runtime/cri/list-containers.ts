import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ContainerFilter, ListContainersRequest, ListContainersResponseSchema } from '../../api/cri/index.ts';
import type { RecordContext } from '../context.ts';
import { matchesLabels } from '../identifiers.ts';
import type { ContainerRecord } from '../store/container-record.ts';
import { containerState, toContainer } from './convert.ts';

/** ListContainers: the containers that pass a filter. */
export function listContainers(
  context: RecordContext,
  request: ListContainersRequest,
): MessageInitShape<typeof ListContainersResponseSchema> {
  return { containers: filterContainers(context, request.filter).map(toContainer) };
}

/** The containers that pass a filter. */
export function filterContainers(
  context: RecordContext,
  filter: Partial<ContainerFilter> | undefined,
): ContainerRecord[] {
  return context.store.containers
    .list()
    .filter(
      (record) =>
        (!filter?.id || record.id.startsWith(filter.id)) &&
        (!filter?.state || containerState(record) === filter.state.state) &&
        (!filter?.podSandboxId || record.sandboxId.startsWith(filter.podSandboxId)) &&
        matchesLabels(record.config.labels, filter?.labelSelector),
    );
}
