import { readdir, readFile, stat } from 'node:fs/promises';
import { join, normalize } from 'node:path';
import type { Clock } from '../../async/index.ts';
import type { ApiClient } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';
import {
  createHttpServer,
  type HttpServer,
  type IncomingMessage,
  type ServerResponse,
  type ServerTls,
  type Socket,
} from '../../wire/http/index.ts';
import { refuseUpgrade } from '../../wire/streams/index.ts';
import { durationMs } from '../config/duration.ts';
import type { KubeletSettings } from '../config/settings.ts';
import type { PodDirectory } from '../pods/ports.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import { Gate } from './authorize.ts';
import { serveContainerLogs } from './container-logs.ts';
import { cadvisorMetrics, kubeletMetrics, probeMetrics, resourceMetrics } from './metrics.ts';
import { ServerError } from './server-error.ts';
import { ownResidentBytes, readContainerUsage, readNodeUsage, readSandboxUsage } from './statistics.ts';
import { makeSummary } from './stats-summary.ts';
import { passStream, runningContainer } from './streaming.ts';

/** What the kubelet's server needs. */
export interface KubeletServerOptions {
  settings: KubeletSettings;
  client: ApiClient | undefined;
  runtime: RuntimeClient;
  pods: PodDirectory;
  /** PEM: the server's certificate and key, and who signs clients' certificates. */
  tls: ServerTls;
  /** Told of the server before it listens: certificates may change. */
  onServer?: (server: HttpServer) => void;
  /** Why the kubelet is not well, for /healthz; undefined when it is. */
  problem: () => string | undefined;
  log: Logger;
  clock: Clock;
}

/** The kubelet's servers: the authenticated one (port 10250) and the health check on loopback (10248). */
export interface KubeletServer {
  close(): Promise<void>;
}

/** A way to answer a request; parts are those of the path. */
type Handler = (parts: string[], url: URL, request: IncomingMessage, response: ServerResponse) => Promise<void> | void;

/** Starts the servers that the configuration asks for. @throws ListenError when a port is taken */
export async function startKubeletServer(options: KubeletServerOptions): Promise<KubeletServer> {
  const { configuration } = options.settings;
  const servers: HttpServer[] = [];
  if (configuration.enableServer) {
    const gate = new Gate({
      client: options.client,
      configuration,
      nodeName: options.settings.nodeName,
      clock: options.clock,
    });
    const handlers = makeHandlers(options);
    const server = createHttpServer({
      tls: options.tls,
      handler: (request, response) => answer(response, () => dispatch(handlers, gate, request, response)),
      upgrade: (request, socket, head) => void upgrade(options, gate, request, socket as Socket, head),
      onError: (error) => options.log.warn('request failed', { error }),
    });
    options.onServer?.(server);
    await server.listen({ host: configuration.address, port: configuration.port });
    servers.push(server);
  }
  if (configuration.healthzPort > 0) {
    const health = createHttpServer({ handler: (_request, response) => sendHealth(response, options.problem()) });
    await health.listen({ host: configuration.healthzBindAddress, port: configuration.healthzPort });
    servers.push(health);
  }
  return { close: async () => void (await Promise.all(servers.map((server) => server.close()))) };
}

async function dispatch(
  handlers: Record<string, Handler>,
  gate: Gate,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'https://kubelet');
  await gate.admit(request, url.pathname);
  const parts = url.pathname.split('/').filter(Boolean).map(decodeURIComponent);
  const handler = handlers[parts.slice(0, 2).join('/')] ?? handlers[parts[0] ?? ''];
  if (!handler) throw new ServerError(404, '404 page not found');
  await handler(parts, url, request, response);
}

async function answer(response: ServerResponse, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (response.headersSent) return void response.destroy();
    const status = error instanceof ServerError ? error.status : 500;
    response
      .writeHead(status, { 'content-type': 'text/plain; charset=utf-8' })
      .end(`${error instanceof Error ? error.message : String(error)}\n`);
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
  try {
    const url = new URL(request.url ?? '/', 'https://kubelet');
    await gate.admit(request, url.pathname);
    const parts = url.pathname.split('/').filter(Boolean).map(decodeURIComponent);
    if (!['exec', 'attach', 'portForward'].includes(parts[0] ?? '')) throw new ServerError(404, '404 page not found');
    const idleTimeoutMs = durationMs(options.settings.configuration.streamingConnectionIdleTimeout);
    await passStream(parts, url, { request, socket, head }, { ...options, idleTimeoutMs });
  } catch (error) {
    const status = error instanceof ServerError ? error.status : 500;
    refuseUpgrade(socket, status, error instanceof Error ? error.message : String(error));
  }
}

function sendHealth(response: ServerResponse, problem: string | undefined): void {
  if (problem === undefined) response.writeHead(200, { 'content-type': 'text/plain' }).end('ok');
  else response.writeHead(500, { 'content-type': 'text/plain' }).end(`${problem}\n`);
}

const sendJson = (response: ServerResponse, value: unknown): void =>
  void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
const sendText = (response: ServerResponse, text: string): void =>
  void response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(text);

function makeHandlers(options: KubeletServerOptions): Record<string, Handler> {
  const { settings, pods, runtime, clock } = options;
  const nodeUsage = () => readNodeUsage(settings.rootDirectory);
  const podList = (items: unknown[]) => ({ kind: 'PodList', apiVersion: 'v1', metadata: {}, items });
  return {
    healthz: (_parts, _url, _request, response) => sendHealth(response, options.problem()),
    pods: (_parts, _url, _request, response) => sendJson(response, podList(pods.pods())),
    runningpods: (_parts, _url, _request, response) =>
      sendJson(response, podList(pods.pods().filter((pod) => pods.sandbox(pod.metadata.uid)))),
    containerLogs: (parts, url, request, response) => serveContainerLogs(parts, url, request, response, pods, clock),
    run: (parts, url, _request, response) => runCommand(parts, url, response, options),
    configz: (_parts, _url, _request, response) =>
      sendJson(response, {
        kubeletconfig: {
          kind: 'KubeletConfiguration',
          apiVersion: 'kubelet.config.k8s.io/v1beta1',
          ...settings.configuration,
        },
      }),
    'stats/summary': async (_parts, _url, _request, response) => {
      const [containers, sandboxes] = await Promise.all([readContainerUsage(runtime), readSandboxUsage(runtime)]);
      sendJson(response, makeSummary(settings.nodeName, nodeUsage(), containers, sandboxes, clock.now()));
    },
    metrics: (_parts, _url, _request, response) => sendText(response, ownMetrics(options)),
    'metrics/resource': async (_parts, _url, _request, response) =>
      sendText(response, resourceMetrics(nodeUsage(), await readContainerUsage(runtime), clock.now())),
    'metrics/cadvisor': async (_parts, _url, _request, response) =>
      sendText(response, cadvisorMetrics(await readContainerUsage(runtime))),
    'metrics/probes': (_parts, _url, _request, response) => sendText(response, probeMetrics(pods.probeCounts())),
    logs: (parts, _url, _request, response) => serveHostLog(parts.slice(1), settings, response),
    'debug/timeline': (_parts, _url, _request, response) => sendJson(response, pods.timelines()),
  };
}

function ownMetrics({ settings, pods }: KubeletServerOptions): string {
  const all = pods.pods();
  const running = all.filter((pod) => pods.sandbox(pod.metadata.uid));
  const containers = running
    .flatMap((pod) => pod.status?.containerStatuses ?? [])
    .filter(({ state }) => state?.running);
  const { user, system } = process.cpuUsage();
  return kubeletMetrics({
    nodeName: settings.nodeName,
    runningPods: running.length,
    runningContainers: containers.length,
    residentBytes: ownResidentBytes(),
    cpuSeconds: (user + system) / 1e6,
    startSeconds: Math.floor(performance.timeOrigin / 1000),
  });
}

/** `POST /run/{namespace}/{pod}/{container}?cmd=…`: runs a command to its end. */
async function runCommand(
  parts: string[],
  url: URL,
  response: ServerResponse,
  { pods, runtime }: KubeletServerOptions,
): Promise<void> {
  const [, namespace = '', podName = ''] = parts;
  const pod = pods.pod(namespace, podName);
  if (!pod) throw new ServerError(404, `pod ${JSON.stringify(`${podName}_${namespace}`)} not found`);
  const container = runningContainer(pods, pod.metadata.uid, parts.at(-1) ?? '', podName);
  const cmd = (url.searchParams.get('cmd') ?? '').split(' ').filter(Boolean);
  const { stdout, stderr, exitCode } = await runtime.runtime.execSync({ containerId: container.id, cmd, timeout: 60n });
  if (exitCode !== 0)
    throw new ServerError(500, `command exited with ${exitCode}: ${Buffer.concat([stdout, stderr]).toString()}`);
  response.writeHead(200, { 'content-type': 'text/plain' }).end(Buffer.concat([stdout, stderr]));
}

/** `/logs/…`: files of the host's /var/log, unless the configuration turns it off. */
async function serveHostLog(parts: string[], settings: KubeletSettings, response: ServerResponse): Promise<void> {
  if (!settings.configuration.enableSystemLogHandler) throw new ServerError(405, 'logs endpoint is disabled.');
  const path = normalize(join('/var/log', ...parts));
  if (path !== '/var/log' && !path.startsWith('/var/log/')) throw new ServerError(400, 'the path leaves /var/log');
  const info = await stat(path).catch(() => undefined);
  if (!info) throw new ServerError(404, '404 page not found');
  if (!info.isDirectory())
    return void response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' }).end(await readFile(path));
  const names = (await readdir(path, { withFileTypes: true })).map(
    (entry) => `${entry.name}${entry.isDirectory() ? '/' : ''}`,
  );
  response
    .writeHead(200, { 'content-type': 'text/html; charset=utf-8' })
    .end(`<pre>\n${names.map((name) => `<a href="${encodeURIComponent(name)}">${name}</a>`).join('\n')}\n</pre>\n`);
}
