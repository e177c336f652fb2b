import type { Clock } from '../../async/index.ts';
import type { ApiClient } from '../../client/index.ts';
import { GrpcError } from '../../wire/grpc/index.ts';
import type { PodCgroups } from '../pods/ports.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import type { KubeletMetrics } from './kubelet-metrics.ts';

/** Operations whose names are not those of their methods in lower case with underscores. */
const operationNames: Record<string, string> = {
  runPodSandbox: 'run_podsandbox',
  stopPodSandbox: 'stop_podsandbox',
  removePodSandbox: 'remove_podsandbox',
  podSandboxStatus: 'podsandbox_status',
  listPodSandbox: 'list_podsandbox',
  podSandboxStats: 'podsandbox_stats',
  listPodSandboxStats: 'list_podsandbox_stats',
  containerStats: 'container_stats',
};

const operationName = (method: string): string =>
  operationNames[method] ?? method.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** A client of a runtime whose calls are counted and timed. */
export function measureRuntime(client: RuntimeClient, metrics: KubeletMetrics, clock: Clock): RuntimeClient {
  const { runtime, images } = client;
  return {
    runtime: measureService(runtime, metrics, clock),
    images: measureService(images, metrics, clock),
    close: () => client.close(),
  };
}

/** How one pod is looked at again. */
const looks = new Set(['podSandboxStatus', 'containerStatus']);

type Call = (request: { runtimeHandler?: string }, options?: object) => unknown;

function measureService<S extends object>(service: S, metrics: KubeletMetrics, clock: Clock): S {
  const measured: Record<string, unknown> = {};
  for (const [method, call] of Object.entries(service) as [string, Call][]) {
    if (method === 'close') measured[method] = call;
    else measured[method] = (request: object, options?: object) => measureCall(method, call(request, options), request);
  }
  return measured as S;

  /** Streams are counted, and not timed: they have no end. */
  function measureCall(method: string, answer: unknown, request: { runtimeHandler?: string }): unknown {
    const labels = { operation_type: operationName(method) };
    metrics.count('kubelet_runtime_operations_total', labels);
    if (!(answer instanceof Promise)) return answer;
    const startedAt = clock.monotonic();
    const done = (): void => {
      const seconds = (clock.monotonic() - startedAt) / 1000;
      metrics.observe('kubelet_runtime_operations_duration_seconds', seconds, labels);
      if (looks.has(method)) metrics.observe('kubelet_pleg_pod_relist_duration_seconds', seconds);
      if (method !== 'runPodSandbox') return;
      const handler = { runtime_handler: request.runtimeHandler ?? '' };
      metrics.observe('kubelet_run_podsandbox_duration_seconds', seconds, handler);
    };
    answer.then(done, (error: unknown) => {
      done();
      // What is not there (any more) is no failure of the runtime.
      if (error instanceof GrpcError && error.code === 'NOT_FOUND') return;
      metrics.count('kubelet_runtime_operations_errors_total', labels);
      if (method === 'runPodSandbox')
        metrics.count('kubelet_run_podsandbox_errors_total', { runtime_handler: request.runtimeHandler ?? '' });
    });
    return answer;
  }
}

/** Cgroups of pods whose changes are timed. */
export function measureCgroups<C extends PodCgroups>(cgroups: C, metrics: KubeletMetrics, clock: Clock): C {
  const name = 'kubelet_cgroup_manager_duration_seconds';
  const now = () => clock.monotonic();
  const { ensure, remove } = cgroups;
  cgroups.ensure = (...pod) => metrics.time(name, { operation_type: 'create' }, now, () => ensure.apply(cgroups, pod));
  cgroups.remove = (...uid) => metrics.time(name, { operation_type: 'destroy' }, now, () => remove.apply(cgroups, uid));
  return cgroups;
}

/** Counts and times what is asked of the API server. */
export function measureClient(client: ApiClient, metrics: KubeletMetrics): void {
  client.observe(({ method, code, durationMs }) => {
    const { host } = new URL(client.config.server);
    metrics.count('rest_client_requests_total', { code: /^\d+$/.test(code) ? code : '<error>', method, host });
    metrics.observe('rest_client_request_duration_seconds', durationMs / 1000, { verb: method, host });
  });
}
