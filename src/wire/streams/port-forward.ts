import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import { type Clock, systemClock, type Timer } from '../../async/index.ts';
import { keepBeating } from './heartbeat.ts';
import { watchIdle } from './idle-timeout.ts';
import { offeredStreamProtocols } from './remote-command.ts';
import { SpdySession, type SpdyStream } from './spdy/index.ts';
import { acceptUpgrade, refuseUpgrade } from './upgrade-response.ts';
import { acceptWebSocket, isWebSocket, offeredProtocols, WebSocketChannels } from './web-socket-channels.ts';

/** What is done with the connections of a client that forwards ports. */
export interface PortForwardOptions {
  /**
   * Carries one connection: copies between `stream` and the pod's port until both are done. The text of what it throws
   * is sent to the client.
   */
  forward: (port: number, stream: Duplex, signal: AbortSignal) => Promise<void>;
  /** Ports for clients that talk in WebSocket channels; default: those of the request's query. SPDY clients name theirs later. */
  ports?: readonly number[];
  /** How long the second stream of a connection may stay away, milliseconds. Default 30,000. */
  setupTimeoutMs?: number;
  /** Default four hours. */
  idleTimeoutMs?: number;
  clock?: Clock;
}

/** The subprotocol of SPDY inside of WebSocket messages. */
export const tunnelProtocol = 'SPDY/3.1+portforward.k8s.io';
const spdyProtocol = 'portforward.k8s.io';
const channelProtocols = ['v4.channel.k8s.io', 'v4.base64.channel.k8s.io', ''];
/** A port that takes nothing for so long must not hold up the connections to others, milliseconds. */
const stallTimeoutMs = 10_000;
const defaults = { setupTimeoutMs: 30_000, idleTimeoutMs: 4 * 3600 * 1000 };

/**
 * Takes the connection of a client that wants to forward ports: SPDY/3.1, SPDY inside of a WebSocket, or WebSocket
 * channels (two for each port). Resolves when the client is gone and every forward has ended.
 */
export async function servePortForward(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  options: PortForwardOptions,
): Promise<void> {
  if (isWebSocket(request)) {
    const tunnelled = offeredProtocols(request).includes(tunnelProtocol);
    return tunnelled ? serveTunnel(request, socket, head, options) : serveChannels(request, socket, head, options);
  }
  if (!/^spdy\/3\.1$/i.test(request.headers.upgrade ?? ''))
    return refuseUpgrade(
      socket,
      400,
      `unable to upgrade: unknown protocol ${JSON.stringify(request.headers.upgrade ?? '')}`,
    );
  const offered = offeredStreamProtocols(request);
  if (offered.length > 0 && !offered.includes(spdyProtocol)) {
    const list = `client supports [${offered.join(' ')}], server accepts [${spdyProtocol}]`;
    return refuseUpgrade(socket, 403, `unable to upgrade: unable to negotiate protocol: ${list}`);
  }
  acceptUpgrade(socket, 'SPDY/3.1', { 'X-Stream-Protocol-Version': spdyProtocol });
  await serveSession(socket, head, options);
}

async function serveTunnel(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  options: PortForwardOptions,
): Promise<void> {
  const accepted = await acceptWebSocket(request, socket, head, [tunnelProtocol]);
  if (!accepted) return;
  const { createWebSocketStream } = await import('ws');
  await serveSession(createWebSocketStream(accepted.webSocket), Buffer.alloc(0), options);
}

interface Pair {
  data?: SpdyStream;
  error?: SpdyStream;
  timer: Timer;
}

/** Puts together the two streams of each connection, which come apart, and has it carried. */
async function serveSession(transport: Duplex, head: Buffer, options: PortForwardOptions): Promise<void> {
  const clock = options.clock ?? systemClock;
  const gone = new AbortController();
  const pairs = new Map<string, Pair>();
  const running = new Set<Promise<void>>();
  const closed = Promise.withResolvers<void>();
  const dropPair = (key: string): void => {
    const pair = pairs.get(key);
    pairs.delete(key);
    pair?.timer.cancel();
    for (const stream of [pair?.data, pair?.error]) stream?.destroy();
  };
  const onStream = (stream: SpdyStream): void => {
    const { streamtype: type, port: portText = '' } = stream.headers;
    const port = parsePort(portText);
    if ((type !== 'data' && type !== 'error') || port === undefined) return void stream.destroy();
    // Clients of old number nothing: their data stream is the one after the error stream.
    const key = stream.headers['requestid'] ?? `stream ${type === 'data' ? stream.id - 2 : stream.id}`;
    let pair = pairs.get(key);
    if (!pair) {
      const timer = clock.after(options.setupTimeoutMs ?? defaults.setupTimeoutMs, () => dropPair(key));
      pair = { timer };
      pairs.set(key, pair);
    }
    if (pair[type]) return void stream.destroy();
    pair[type] = stream;
    const { data, error } = pair;
    if (!data || !error) return;
    pair.timer.cancel();
    pairs.delete(key);
    const one = carry(port, data, error, options, gone.signal).finally(() => running.delete(one));
    running.add(one);
  };
  const session = new SpdySession(
    transport,
    {
      role: 'server',
      clock,
      stallTimeoutMs,
      onStream,
      onClose: () => {
        gone.abort(new Error('the client has gone'));
        for (const key of [...pairs.keys()]) dropPair(key);
        closed.resolve();
      },
    },
    head,
  );
  watchIdle(
    clock,
    options.idleTimeoutMs ?? defaults.idleTimeoutMs,
    () => session.lastActivity,
    gone.signal,
    () => session.destroy(),
  );
  keepBeating(clock, gone.signal, () => session.beat());
  await closed.promise;
  await Promise.allSettled([...running]);
}

async function carry(
  port: number,
  data: Duplex,
  error: Duplex,
  options: PortForwardOptions,
  signal: AbortSignal,
): Promise<void> {
  error.resume();
  try {
    await options.forward(port, data, signal);
  } catch (cause) {
    if (!signal.aborted)
      error.write(`error forwarding port ${port}: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  for (const stream of [data, error]) {
    if (stream.destroyed || stream.writableFinished) continue;
    stream.end();
    await finished(stream, { readable: false }).catch(() => {});
  }
  // What the client still sends has nowhere to go.
  data.resume();
}

async function serveChannels(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  options: PortForwardOptions,
): Promise<void> {
  const ports = options.ports?.length ? options.ports : queryPorts(request);
  if (!ports) return refuseUpgrade(socket, 400, 'the query parameter "port" must name ports from 1 to 65535');
  const accepted = await acceptWebSocket(request, socket, head, channelProtocols);
  if (!accepted) return;
  const clock = options.clock ?? systemClock;
  const { webSocket, protocol } = accepted;
  const gone = new AbortController();
  let lastActivity = clock.monotonic();
  const channels = new WebSocketChannels(webSocket, protocol, () => {
    lastActivity = clock.monotonic();
  });
  webSocket.on('close', () => gone.abort(new Error('the client has gone')));
  watchIdle(
    clock,
    options.idleTimeoutMs ?? defaults.idleTimeoutMs,
    () => lastActivity,
    gone.signal,
    () => webSocket.terminate(),
  );
  keepBeating(clock, gone.signal, () => webSocket.pong());
  await Promise.all(
    ports.map((port, index) => {
      const [data, error] = [channels.stream(index * 2), channels.stream(index * 2 + 1)];
      // The first message on each channel is the port, so that a client knows which is which.
      for (const channel of [index * 2, index * 2 + 1]) channels.send(channel, Buffer.from([port & 0xff, port >> 8]));
      return carry(port, data, error, options, gone.signal);
    }),
  );
  channels.close();
}

function parsePort(text: string): number | undefined {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return port > 0 && port < 65_536 ? port : undefined;
}

/** The ports of `?port=80,81&port=82` (or `ports=`); undefined when there is none or one is no port. */
function queryPorts(request: IncomingMessage): number[] | undefined {
  const query = new URL(request.url ?? '/', 'http://localhost').searchParams;
  const ports = [...query.getAll('port'), ...query.getAll('ports')].flatMap((one) => one.split(',')).map(parsePort);
  return ports.length > 0 && ports.every((port) => port !== undefined) ? ports : undefined;
}
