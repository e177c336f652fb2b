import { formatMetrics } from '../metrics/text-format.ts';
import type { RuntimeCache } from '../pods/runtime-cache.ts';
import { cadvisorMetrics, makeSummary, resourceMetrics } from '../statistics/index.ts';
import { type Asked, type Handler, sendJson, sendMetrics, sendText } from './answers.ts';
import { checkpoint } from './checkpoint.ts';
import { serveContainerLogs } from './container-logs.ts';
import { serveProfile, setVerbosity } from './debug.ts';
import { healthChecks, serveHealth } from './health.ts';
import { serveHostLogs } from './host-logs.ts';
import { runCommand } from './run-command.ts';
import { ServerError } from './server-error.ts';
import type { KubeletServerOptions } from './server-options.ts';
import { serveFlags, serveStatus } from './zpages.ts';

/** What is at a path: its handler by method. A path is the first part of it, or the first two where that is longer. */
export type Routes = Record<string, Partial<Record<string, Handler>>>;

const get = (handler: Handler) => ({ GET: handler, HEAD: handler });

/** What tells of the node and its pods; also on the read-only port. */
export function readOnlyRoutes(options: KubeletServerOptions): Routes {
  const { settings, pods, clock, metrics, statistics } = options;
  const checks = healthChecks(options.problem);
  const summary = (asked: Asked) => {
    const only = ['1', 'true'].includes(asked.url.searchParams.get('only_cpu_and_memory') ?? '');
    const parts = { statistics, nodeName: settings.nodeName, now: () => clock.now() };
    return makeSummary(parts, only ? 'cpu_and_memory' : undefined);
  };
  return {
    healthz: get((asked) => serveHealth(asked, checks, metrics)),
    pods: get((asked) => sendJson(asked, podList(pods.pods()))),
    'stats/summary': get(async (asked) => sendJson(asked, await summary(asked))),
    metrics: get(async (asked) => sendMetrics(asked, formatMetrics(await metrics.read('metrics')))),
    'metrics/probes': get(async (asked) => sendMetrics(asked, formatMetrics(await metrics.read('probes')))),
    'metrics/resource': get(async (asked) => sendMetrics(asked, await resourceMetrics(statistics))),
    'metrics/cadvisor': get(async (asked) => {
      const now = () => clock.now();
      sendMetrics(asked, await cadvisorMetrics(statistics, now, () => clock.monotonic()));
    }),
  };
}

/** What reaches into containers and into the node. */
export function debuggingRoutes(options: KubeletServerOptions, version: string): Routes {
  const { settings, pods, runtime, clock } = options;
  const { configuration, rootDirectory } = settings;
  const streamed: Handler = () => {
    throw new ServerError(400, 'Upgrade request required');
  };
  const disabled = (what: string) => always(405, `${what} endpoint is disabled.`);
  const routes: Routes = {
    containerLogs: get((asked) => serveContainerLogs(asked, pods, clock)),
    run: { POST: (asked) => runCommand(asked, pods, runtime) },
    exec: { GET: streamed, POST: streamed },
    attach: { GET: streamed, POST: streamed },
    portForward: { GET: streamed, POST: streamed },
    runningpods: get((asked) => sendJson(asked, podList(runningPods(options.cache)))),
    checkpoint: { POST: (asked) => checkpoint(asked, { pods, runtime, rootDirectory, clock }) },
    configz: get((asked) => sendJson(asked, { kubeletconfig: { ...kind, ...configuration } })),
    logs: configuration.enableSystemLogHandler ? get((asked) => serveHostLogs(asked, settings)) : disabled('logs'),
    'debug/pprof': configuration['enableProfilingHandler']
      ? get((asked) => serveProfile(asked, options))
      : disabled('profiling'),
    'debug/flags': configuration['enableDebugFlagsHandler']
      ? { PUT: (asked) => setVerbosity(asked, options) }
      : disabled('flags'),
    'debug/timeline': get((asked) => {
      const [namespace, pod] = ['namespace', 'pod'].map((name) => asked.url.searchParams.get(name));
      const all = pods.timelines();
      sendJson(
        asked,
        all.filter((one) => (!namespace || one.namespace === namespace) && (!pod || one.name === pod)),
      );
    }),
    flagz: get((asked) => serveFlags(asked, settings)),
    statusz: get((asked) =>
      serveStatus(
        asked,
        Object.keys(routes).map((path) => `/${path}`),
        version,
        clock.now(),
      ),
    ),
  };
  return routes;
}

/** The same paths when debugging is off. */
export function disabledRoutes(): Routes {
  const paths = ['run', 'exec', 'attach', 'portForward', 'containerLogs', 'runningpods', 'debug/pprof', 'logs'];
  return Object.fromEntries(paths.map((path) => [path, always(405, 'Debug endpoints are disabled.')]));
}

const kind = { kind: 'KubeletConfiguration', apiVersion: 'kubelet.config.k8s.io/v1beta1' };

function always(status: number, text: string): Routes[string] {
  const handler: Handler = (asked) => sendText(asked, `${text}\n`, status);
  return Object.fromEntries(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH'].map((method) => [method, handler]));
}

const podList = (items: object[]) => ({ kind: 'PodList', apiVersion: 'v1', metadata: {}, items });

/** What the runtime runs, as pods that say no more than that. */
function runningPods(cache: RuntimeCache): object[] {
  return cache.podUids().flatMap((podUid) => {
    const { uid, name, namespace, containers } = cache.pod(podUid);
    const running = containers.filter(({ state }) => state === 'running');
    if (running.length === 0) return [];
    const spec = { containers: running.map((one) => ({ name: one.name, image: one.image, resources: {} })) };
    return [{ metadata: { name, namespace, uid, creationTimestamp: null }, spec, status: {} }];
  });
}
