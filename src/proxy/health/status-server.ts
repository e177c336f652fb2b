import type { Clock } from '../../async/index.ts';
import type { Level } from '../../log/index.ts';
import { createHttpServer, type HttpServer, type IncomingMessage, type ServerResponse } from '../../wire/http/index.ts';
import { isFeatureOn, type ProxySettings } from '../configuration.ts';
import { pathOf, sendJson, sendText } from './answers.ts';
import { sendProfile, setVerbosity } from './debug.ts';
import type { ProxyMetrics } from './metrics.ts';
import { sendFlagz, sendStatusz } from './zpages.ts';

/** What the status server tells. Settings are asked for at each request: they may change. */
export interface StatusOptions {
  metrics: ProxyMetrics;
  settings: () => ProxySettings;
  /** The configuration in upstream's format. */
  document: () => unknown;
  /** The flags that were given, by name. */
  flags: Readonly<Record<string, string>>;
  /** Refreshes gauges that are only counted when asked for. */
  beforeMetrics: () => void | Promise<void>;
  /** Changes how much is logged; missing where components share it. */
  setLogLevel?: (level: Level) => void;
  clock: Clock;
}

type Answer = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

/** Metrics, mode, configuration and profiles for operators. Port 10249. */
export function createStatusServer(options: StatusOptions): HttpServer {
  const always = answers(options);
  const debug: Record<string, Answer> = {
    '/debug/flags/v': (request, response) => setVerbosity(request, response, options.setLogLevel),
    '/debug/pprof/': (request, response) => sendProfile(request, response, options.clock),
  };
  return createHttpServer({
    handler: (request, response) => {
      const { profiling } = options.settings();
      const path = pathOf(request.url);
      const known: Record<string, Answer> = profiling ? { ...always, ...debug } : always;
      if (path === '/statusz' && isFeatureOn(options.settings().featureGates, 'ComponentStatusz'))
        return sendStatusz(request, response, { now: options.clock.now(), paths: Object.keys(known) });
      const name = profiling && path.startsWith('/debug/pprof/') ? '/debug/pprof/' : path;
      const answer = Object.hasOwn(known, name) ? known[name] : undefined;
      return answer ? answer(request, response) : sendText(response, '404 page not found\n', 404);
    },
  });
}

function answers(options: StatusOptions): Record<string, Answer> {
  const { metrics } = options;
  const gated = (answer: Answer): Answer => {
    return (request, response) =>
      isFeatureOn(options.settings().featureGates, 'ComponentFlagz')
        ? answer(request, response)
        : sendText(response, '404 page not found\n', 404);
  };
  return {
    '/metrics': async (_request, response) => {
      await options.beforeMetrics();
      await sendMetrics(response, metrics.registry);
    },
    '/metrics/slis': (_request, response) => sendMetrics(response, metrics.slis),
    '/proxyMode': (_request, response) => sendText(response, options.settings().mode),
    '/healthz': sendHealth(metrics, 'all'),
    '/healthz/ping': sendHealth(metrics, 'ping'),
    '/configz': (_request, response) => sendJson(response, 200, { 'kubeproxy.config.k8s.io': options.document() }),
    '/flagz': gated((request, response) => sendFlagz(request, response, options.flags)),
  };
}

async function sendMetrics(response: ServerResponse, registry: ProxyMetrics['registry']): Promise<void> {
  const text = await registry.metrics();
  response.writeHead(200, { 'content-type': registry.contentType }).end(text);
}

/** That the process answers; whether rules keep up is for the health server to say. */
function sendHealth(metrics: ProxyMetrics, which: 'all' | 'ping'): Answer {
  return (request, response) => {
    metrics.healthcheck.set({ name: 'ping', type: 'healthz' }, 1);
    metrics.healthchecks.inc({ name: 'ping', type: 'healthz', status: 'success' });
    const verbose = which === 'all' && new URL(request.url ?? '/', 'http://proxy').searchParams.has('verbose');
    sendText(response, verbose ? '[+]ping ok\nhealthz check passed\n' : 'ok');
  };
}
