import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ContainerStatsRequest, ContainerStatsResponseSchema } from '../../api/cri/index.ts';
import type { RecordContext } from '../context.ts';
import { containerStatsOf } from '../stats/container-stats.ts';

/** ContainerStats: what one container uses. */
export async function containerStats(
  context: RecordContext,
  request: ContainerStatsRequest,
): Promise<MessageInitShape<typeof ContainerStatsResponseSchema>> {
  return { stats: await containerStatsOf(context, context.store.containers.get(request.containerId)) };
}
