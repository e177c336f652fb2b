import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ListPodSandboxMetricsResponseSchema } from '../../api/cri/index.ts';
import type { RecordContext } from '../context.ts';
import { sandboxMetrics } from '../stats/metrics.ts';
import { filterSandboxes } from './list-pod-sandbox.ts';

/** ListPodSandboxMetrics: the metrics of all ready sandboxes and of their containers. */
export async function listPodSandboxMetrics(
  context: RecordContext,
): Promise<MessageInitShape<typeof ListPodSandboxMetricsResponseSchema>> {
  return { podMetrics: await allMetrics(context) };
}

/** The metrics of all ready sandboxes. */
export function allMetrics(context: RecordContext) {
  const ready = filterSandboxes(context, undefined).filter(({ phase }) => phase === 'ready');
  return Promise.all(ready.map((record) => sandboxMetrics(context, record)));
}
