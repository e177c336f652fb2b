import type { Clock } from '../../async/index.ts';
import { createHttpServer, type HttpServer, type ServerResponse } from '../../wire/http/index.ts';
import type { ProxyMetrics } from './metrics.ts';

/** How long a change may wait before the proxy counts as unhealthy: two sync periods, milliseconds. */
export interface HealthOptions {
  clock: Clock;
  toleranceMs: number;
  /** Whether the node is neither gone, nor on its way out. */
  nodeEligible: () => boolean;
}

/** Whether rules keep up with changes, in each family. */
export class ProxyHealth {
  readonly #options: HealthOptions;
  readonly #families = new Map<string, { queuedAt?: number; updatedAt: number }>();
  #serving = false;

  constructor(options: HealthOptions) {
    this.#options = options;
  }

  /** A change waits. */
  queued(family: string): void {
    const state = this.#of(family);
    state.queuedAt ??= this.#options.clock.now();
  }
  /** Everything that waited is written. */
  updated(family: string): void {
    const state = this.#of(family);
    state.queuedAt = undefined;
    state.updatedAt = this.#options.clock.now();
  }
  /** All Services that were there at the start are in the kernel. */
  serves(): void {
    this.#serving = true;
  }
  /** Whether a rollout may go on to the next node. */
  get ready(): boolean {
    return this.#serving && this.healthy;
  }
  /** Whether no change waits for too long. */
  get healthy(): boolean {
    return [...this.#families.values()].every((state) => this.#isHealthy(state));
  }
  /** What /healthz and /livez answer. */
  report(): { healthy: boolean; eligible: boolean; body: Record<string, unknown> } {
    const now = this.#options.clock.now();
    const eligible = this.#options.nodeEligible();
    const families = [...this.#families].map(([family, state]) => [
      family,
      { lastUpdated: new Date(state.updatedAt).toISOString(), healthy: this.#isHealthy(state) },
    ]);
    const lastUpdated = Math.max(0, ...[...this.#families.values()].map((state) => state.updatedAt));
    const body = {
      lastUpdated: new Date(lastUpdated).toISOString(),
      currentTime: new Date(now).toISOString(),
      nodeEligible: eligible,
      healthy: this.healthy,
      status: Object.fromEntries(families),
    };
    return { healthy: this.healthy, eligible, body };
  }

  #of(family: string): { queuedAt?: number; updatedAt: number } {
    let state = this.#families.get(family);
    if (!state) this.#families.set(family, (state = { updatedAt: this.#options.clock.now() }));
    return state;
  }
  #isHealthy({ queuedAt }: { queuedAt?: number }): boolean {
    return queuedAt === undefined || this.#options.clock.now() - queuedAt <= this.#options.toleranceMs;
  }
}

/** /healthz and /livez for load balancers and probes; /readyz, which upstream has not got, tells when the first write is done. */
export function createHealthServer(health: ProxyHealth, metrics: ProxyMetrics): HttpServer {
  return createHttpServer({
    handler: (request, response) => {
      const path = pathOf(request.url);
      const { healthy, eligible, body } = health.report();
      if (path === '/readyz') return sendJson(response, health.ready ? 200 : 503, body);
      if (path !== '/healthz' && path !== '/livez') return void response.writeHead(404).end();
      const status = healthy && (eligible || path === '/livez') ? 200 : 503;
      (path === '/livez' ? metrics.livez : metrics.healthz).inc({ code: String(status) });
      sendJson(response, status, body);
    },
  });
}

/** Metrics, mode and configuration for operators. */
export function createStatusServer(options: {
  health: ProxyHealth;
  metrics: ProxyMetrics;
  mode: string;
  configuration: () => unknown;
  /** Refreshes gauges that are only counted when asked for. */
  beforeMetrics: () => void;
}): HttpServer {
  return createHttpServer({
    handler: async (request, response) => {
      const path = pathOf(request.url);
      if (path === '/metrics') {
        options.beforeMetrics();
        const text = await options.metrics.registry.metrics();
        response.writeHead(200, { 'content-type': options.metrics.registry.contentType }).end(text);
      } else if (path === '/proxyMode') sendText(response, options.mode);
      else if (path === '/healthz') sendText(response, 'ok');
      else if (path === '/configz') sendJson(response, 200, { 'kubeproxy.config.k8s.io': options.configuration() });
      else response.writeHead(404, { 'content-type': 'text/plain' }).end('404 page not found\n');
    },
  });
}

function pathOf(url: string | undefined): string {
  return (url ?? '/').replace(/[?#].*$/s, '');
}

/** Answers with JSON. */
export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response
    .writeHead(status, { 'content-type': 'application/json', 'x-content-type-options': 'nosniff' })
    .end(JSON.stringify(body));
}

function sendText(response: ServerResponse, text: string): void {
  response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' }).end(text);
}
