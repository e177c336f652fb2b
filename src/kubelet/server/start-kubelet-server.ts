import {
  createHttpServer,
  type HttpServer,
  type IncomingMessage,
  type ServerResponse,
  type Socket,
} from '../../wire/http/index.ts';
import { durationMs } from '../config/duration.ts';
import { Gate } from './authorize.ts';
import { collectMetrics } from './collect-metrics.ts';
import { healthChecks, serveHealth } from './health.ts';
import { RequestMetrics } from './request-metrics.ts';
import { debuggingRoutes, disabledRoutes, type Routes, readOnlyRoutes } from './routes.ts';
import { ServerError } from './server-error.ts';
import type { KubeletServerOptions } from './server-options.ts';
import { passStream } from './streaming.ts';

/** The kubelet's servers: the authenticated one (port 10250), the health check on loopback (10248), the read-only one. */
export interface KubeletServer {
  close(): Promise<void>;
}

/** Starts the servers that the configuration asks for. @throws ListenError when a port is taken */
export async function startKubeletServer(options: KubeletServerOptions): Promise<KubeletServer> {
  const { configuration } = options.settings;
  const { address, port, readOnlyPort, healthzBindAddress, healthzPort } = configuration;
  collectMetrics(options, options.version);
  const servers: HttpServer[] = [];
  const listen = async (server: HttpServer, host: string, on: number): Promise<void> => {
    servers.push(server);
    await server.listen({ host, port: on });
  };
  try {
    if (configuration.enableServer) {
      const secure = makeSecureServer(options);
      options.onServer?.(secure);
      await listen(secure, address, port);
    }
    if (readOnlyPort > 0) await listen(makeReadOnlyServer(options), address, readOnlyPort);
    if (healthzPort > 0) await listen(makeHealthServer(options), healthzBindAddress, healthzPort);
  } catch (error) {
    await Promise.all(servers.map((server) => server.close()));
    throw error;
  }
  return { close: async () => void (await Promise.all(servers.map((server) => server.close()))) };
}

function makeSecureServer(options: KubeletServerOptions): HttpServer {
  const { settings, client, clock, log, metrics } = options;
  const { configuration, nodeName } = settings;
  const gate = new Gate({ client, configuration, nodeName, clock, log });
  const routes = {
    ...readOnlyRoutes(options),
    ...(configuration.enableDebuggingHandlers ? debuggingRoutes(options, options.version) : disabledRoutes()),
  };
  const measured = new RequestMetrics(metrics, clock, 'readwrite');
  return createHttpServer({
    tls: options.tls,
    handler: (request, response) => {
      measured.follow(request, response);
      return answer(response, () => dispatch(routes, request, response, gate));
    },
    upgrade: (request, socket, head) => {
      measured.follow(request, socket);
      void upgrade(options, gate, request, socket as Socket, head);
    },
    onError: (error) => log.warn('request failed', { error }),
  });
}

/** What anybody may read who reaches the port; there is none unless it is configured. */
function makeReadOnlyServer(options: KubeletServerOptions): HttpServer {
  const routes = { ...readOnlyRoutes(options), ...disabledRoutes() };
  const measured = new RequestMetrics(options.metrics, options.clock, 'readonly');
  return createHttpServer({
    handler: (request, response) => {
      measured.follow(request, response);
      return answer(response, () => dispatch(routes, request, response));
    },
    onError: (error) => options.log.warn('request failed', { error }),
  });
}

function makeHealthServer(options: KubeletServerOptions): HttpServer {
  const checks = healthChecks(options.problem);
  const routes: Routes = {
    healthz: { GET: (asked) => serveHealth(asked, checks), HEAD: (asked) => serveHealth(asked, checks) },
  };
  return createHttpServer({
    handler: (request, response) => answer(response, () => dispatch(routes, request, response)),
  });
}

/** The path of a request in parts, decoded. @throws ServerError 400 */
function readPath(request: IncomingMessage): { url: URL; parts: string[] } {
  try {
    const url = new URL(request.url ?? '/', 'https://kubelet');
    return { url, parts: url.pathname.split('/').filter(Boolean).map(decodeURIComponent) };
  } catch {
    throw new ServerError(400, `bad path ${JSON.stringify(request.url)}`);
  }
}

async function dispatch(
  routes: Routes,
  request: IncomingMessage,
  response: ServerResponse,
  gate?: Gate,
): Promise<void> {
  const { url, parts } = readPath(request);
  await gate?.admit(request, parts[0] ?? '');
  const route = routes[parts.slice(0, 2).join('/')] ?? routes[parts[0] ?? ''];
  if (!route) throw new ServerError(404, '404 page not found');
  const handler = route[request.method ?? 'GET'];
  if (!handler) throw new ServerError(405, '405: Method Not Allowed');
  await handler({ request, response, url, parts });
}

async function answer(response: ServerResponse, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (response.headersSent) return void response.destroy();
    const status = error instanceof ServerError ? error.status : 500;
    response
      .writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' })
      .end(error instanceof Error ? error.message : String(error));
  }
}

/** Exec, attach and port-forward, for whoever may. */
async function upgrade(
  options: KubeletServerOptions,
  gate: Gate,
  request: IncomingMessage,
  socket: Socket,
  head: Buffer,
): Promise<void> {
  const { configuration } = options.settings;
  try {
    const { url, parts } = readPath(request);
    await gate.admit(request, parts[0] ?? '');
    if (!['exec', 'attach', 'portForward'].includes(parts[0] ?? '')) throw new ServerError(404, '404 page not found');
    if (!configuration.enableDebuggingHandlers) throw new ServerError(405, 'Debug endpoints are disabled.');
    const idleTimeoutMs = durationMs(configuration.streamingConnectionIdleTimeout);
    await passStream(parts, url, { request, socket, head }, { ...options, idleTimeoutMs });
  } catch (error) {
    const status = error instanceof ServerError ? error.status : 500;
    const { refuseUpgrade } = await import('../../wire/streams/index.ts');
    refuseUpgrade(socket, status, error instanceof Error ? error.message : String(error));
  }
}
