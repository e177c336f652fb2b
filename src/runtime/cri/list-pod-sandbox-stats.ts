import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ListPodSandboxStatsRequest, ListPodSandboxStatsResponseSchema } from '../../api/cri/index.ts';
import type { RecordContext } from '../context.ts';
import { statsOfSandboxes } from './pod-sandbox-stats.ts';

/** ListPodSandboxStats: what the ready sandboxes that pass a filter use. */
export async function listPodSandboxStats(
  context: RecordContext,
  request: ListPodSandboxStatsRequest,
): Promise<MessageInitShape<typeof ListPodSandboxStatsResponseSchema>> {
  return { stats: await statsOfSandboxes(context, request.filter) };
}
