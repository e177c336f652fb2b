import type { ContainerStatsRequest } from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';
import { containerStatsOf } from '../stats/container-stats.ts';

/** ContainerStats: what one container uses. */
export async function containerStats(context: RuntimeContext, request: ContainerStatsRequest) {
  return { stats: await containerStatsOf(context, context.store.containers.get(request.containerId)) };
}
