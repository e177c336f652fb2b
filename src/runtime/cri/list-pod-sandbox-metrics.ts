import type { RuntimeContext } from '../context.ts';
import { sandboxMetrics } from '../stats/metrics.ts';
import { filterSandboxes } from './list-pod-sandbox.ts';

/** ListPodSandboxMetrics: the metrics of all ready sandboxes and of their containers. */
export async function listPodSandboxMetrics(context: RuntimeContext) {
  return { podMetrics: await allMetrics(context) };
}

/** StreamPodSandboxMetrics: like ListPodSandboxMetrics, one sandbox at a time. */
export async function* streamPodSandboxMetrics(context: RuntimeContext) {
  for (const metrics of await allMetrics(context)) yield { podSandboxMetrics: [metrics] };
}

function allMetrics(context: RuntimeContext) {
  const ready = filterSandboxes(context, undefined).filter(({ phase }) => phase === 'ready');
  return Promise.all(ready.map((record) => sandboxMetrics(context, record)));
}
