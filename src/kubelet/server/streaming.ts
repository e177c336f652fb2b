import type { Clock } from '../../async/index.ts';
import { HttpClient, type IncomingMessage, type Socket } from '../../wire/http/index.ts';
import type { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import type { ContainerView, PodDirectory } from '../pods/ports.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import { ServerError } from './server-error.ts';

/** Which streams a command has. */
interface CommandStreams {
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  tty: boolean;
}

/** Where the runtime streams what a request asks for; without `streams` it is a port-forward. */
interface StreamPlace {
  url: string;
  streams?: CommandStreams;
}

/**
 * Passes an exec, attach or port-forward on to the runtime. Bytes go unread, except for clients in the newest WebSocket
 * dialects, which no runtime but ours speaks: those are translated to SPDY.
 * @throws ServerError, or the runtime's error, before anything was answered
 */
export async function passStream(
  parts: string[],
  url: URL,
  connection: { request: IncomingMessage; socket: Socket; head: Buffer },
  options: {
    pods: PodDirectory;
    runtime: RuntimeClient;
    /** A connection over which nothing has gone for so long is ended; 0: never. */
    idleTimeoutMs: number;
    metrics: KubeletMetrics;
    clock: Clock;
  },
): Promise<void> {
  const { request, socket, head } = connection;
  const { runtime, clock, idleTimeoutMs, metrics } = options;
  if (idleTimeoutMs > 0) socket.setTimeout(idleTimeoutMs, () => socket.destroy());
  if (request.headers.upgrade?.toLowerCase() === 'websocket')
    metrics.count('kubelet_websocket_streaming_requests_total', { subresource: (parts[0] ?? '').toLowerCase() });
  const place = await streamPlace(parts, url, options.pods, runtime);
  const client = new HttpClient({ baseUrl: place.url, keepAlive: false });
  // Only who streams needs it in memory.
  const { offersOnlyNewDialects, translatePortForward, translateRemoteCommand, tunnelUpgrade } = await import(
    '../../wire/streams/index.ts'
  );
  const target = { client, path: place.url, clock };
  try {
    if (!offersOnlyNewDialects(request) || (await runtime.runtime.version({})).runtimeName === 'deckhand')
      return await tunnelUpgrade(request, socket, head, target);
    const { streams } = place;
    if (streams) await translateRemoteCommand(request, socket, head, target, { ...streams, clock, idleTimeoutMs });
    else await translatePortForward(request, socket, head, target);
  } finally {
    client.close();
  }
}

async function streamPlace(parts: string[], url: URL, pods: PodDirectory, client: RuntimeClient): Promise<StreamPlace> {
  const [verb, namespace = '', podName = ''] = parts;
  const pod = pods.pod(namespace, podName);
  if (!pod) throw new ServerError(404, 'pod does not exist');
  const { uid } = pod.metadata;
  // The uid may stand before the container: then it must be this very pod.
  const asked = parts.length > (verb === 'portForward' ? 3 : 4) ? parts[3] : undefined;
  if (asked !== undefined && pods.podByUid(asked)?.metadata.uid !== uid) throw new ServerError(404, 'pod not found');
  if (verb === 'portForward') {
    const podSandboxId = pods.sandbox(uid);
    if (!podSandboxId) throw new ServerError(400, `pod ${podName} is not running`);
    const ports = [...url.searchParams.getAll('port'), ...url.searchParams.getAll('ports')]
      .flatMap((text) => text.split(','))
      .map(Number);
    return { url: (await client.runtime.portForward({ podSandboxId, port: ports.filter((port) => port > 0) })).url };
  }
  // /exec/{namespace}/{pod}/{container} or, of old, /exec/{namespace}/{pod}/{uid}/{container}
  const container = runningContainer(pods, uid, parts.at(-1) ?? '', podName);
  const streams = readStreams(url.searchParams);
  if (verb === 'attach') {
    const own = {
      ...streams,
      tty: container.tty,
      stdin: streams.stdin && container.stdin,
      stderr: streams.stderr && !container.tty,
    };
    return { url: (await client.runtime.attach({ containerId: container.id, ...own })).url, streams: own };
  }
  const cmd = url.searchParams.getAll('command');
  if (cmd.length === 0) throw new ServerError(400, 'you must specify at least 1 command for exec');
  return { url: (await client.runtime.exec({ containerId: container.id, cmd, ...streams })).url, streams };
}

/** A container that can be entered. @throws ServerError */
export function runningContainer(pods: PodDirectory, podUid: string, name: string, podName: string): ContainerView {
  const container = pods.container(podUid, name);
  if (!container) throw new ServerError(500, `container not found (${JSON.stringify(name)})`);
  if (container.state !== 'running')
    throw new ServerError(
      500,
      `container ${JSON.stringify(name)} in pod ${podName} is not running: its state is ${container.state}`,
    );
  return container;
}

/** Which streams are wanted; API servers say input, output and error, other clients stdin, stdout and stderr. */
function readStreams(query: URLSearchParams): CommandStreams {
  const flag = (...names: string[]) => names.some((name) => ['1', 'true'].includes(query.get(name) ?? ''));
  const tty = flag('tty');
  const streams = {
    stdin: flag('input', 'stdin'),
    stdout: flag('output', 'stdout'),
    stderr: flag('error', 'stderr') && !tty,
    tty,
  };
  if (!streams.stdin && !streams.stdout && !streams.stderr)
    throw new ServerError(400, 'you must specify at least 1 of stdin, stdout, stderr');
  return streams;
}
