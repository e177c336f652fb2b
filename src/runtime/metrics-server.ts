import { createHttpServer, type HttpServer } from '../wire/http/index.ts';
import type { RuntimeContext } from './context.ts';

/** Serves `/metrics` and `/healthz` over HTTP at `host:port`. @throws ListenError */
export async function serveMetrics(context: RuntimeContext, address: string): Promise<HttpServer> {
  // Loaded only where somebody wants to see them.
  const { createMetrics } = await import('./calls/metrics.ts');
  const registry = createMetrics(context);
  const server = createHttpServer({
    handler: async ({ url }, response) => {
      if (url === '/metrics') {
        const text = await registry.metrics();
        response.writeHead(200, { 'content-type': registry.contentType }).end(text);
      } else if (url === '/healthz') response.writeHead(200, { 'content-type': 'text/plain' }).end('ok');
      else response.writeHead(404, { 'content-type': 'text/plain' }).end('there are /metrics and /healthz');
    },
    onError: (error) => context.log.warn('metrics cannot be told', { error }),
  });
  const [, host = '', port = ''] = /^\[?(.*?)\]?:(\d+)$/.exec(address) ?? [];
  await server.listen({ host, port: Number(port) });
  return server;
}
