import type { MessageInitShape } from '@bufbuild/protobuf';
import type {
  ContainerStatsFilter,
  ListContainerStatsRequest,
  ListContainerStatsResponseSchema,
} from '../../api/cri/index.ts';
import type { RecordContext } from '../context.ts';
import { containerStatsOf } from '../stats/container-stats.ts';
import { filterContainers } from './list-containers.ts';

/** ListContainerStats: what the running containers that pass a filter use. */
export async function listContainerStats(
  context: RecordContext,
  request: ListContainerStatsRequest,
): Promise<MessageInitShape<typeof ListContainerStatsResponseSchema>> {
  return { stats: await statsOfContainers(context, request.filter) };
}

/** The stats of the running containers that pass a filter. */
export function statsOfContainers(context: RecordContext, filter: ContainerStatsFilter | undefined) {
  const { id = '', podSandboxId = '', labelSelector = {} } = filter ?? {};
  const running = filterContainers(context, { id, podSandboxId, labelSelector }).filter(
    ({ phase }) => phase.name === 'running',
  );
  return Promise.all(running.map((record) => containerStatsOf(context, record)));
}
