import { createHttpServer, type HttpServer } from '../../wire/http/index.ts';
import { pathOf, sendJson, sendText } from './answers.ts';
import type { ProxyMetrics } from './metrics.ts';
import type { ProxyHealth } from './proxy-health.ts';

/**
 * /healthz for load balancers, and /livez, which leaves the node out, for probes; /readyz, which upstream has not got, tells
 * when the first write is done. Port 10256.
 */
export function createHealthServer(health: ProxyHealth, metrics: ProxyMetrics): HttpServer {
  return createHttpServer({
    handler: (request, response) => {
      const path = pathOf(request.url);
      if (path === '/readyz') return sendJson(response, health.ready ? 200 : 503, health.report(false).body);
      if (path !== '/healthz' && path !== '/livez') return sendText(response, '404 page not found\n', 404);
      const { healthy, body } = health.report(path === '/healthz');
      const status = healthy ? 200 : 503;
      (path === '/livez' ? metrics.livez : metrics.healthz).inc({ code: String(status) });
      sendJson(response, status, body);
    },
  });
}
