import type { IncomingMessage } from 'node:http';
import type { Duplex, Readable, Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { type Clock, systemClock } from '../../async/index.ts';
import { type ExitStatus, formatExitStatus, formatExitText } from './exit-status.ts';
import { keepBeating } from './heartbeat.ts';
import { watchIdle } from './idle-timeout.ts';
import { SpdySession, type SpdyStream } from './spdy/index.ts';
import { type TerminalSize, TerminalSizes } from './terminal-sizes.ts';
import { acceptUpgrade, refuseUpgrade } from './upgrade-response.ts';
import { acceptWebSocket, isWebSocket, WebSocketChannels } from './web-socket-channels.ts';

/** Which streams a remote command has, as its URL asked for them. */
export interface RemoteCommandOptions {
  stdin: boolean;
  stdout: boolean;
  /** Never with a terminal. */
  stderr: boolean;
  tty: boolean;
  /** How long the client may take to open its streams, milliseconds. Default 30,000. */
  setupTimeoutMs?: number;
  /** A connection on which nothing happens for so long is closed, milliseconds. Default four hours. */
  idleTimeoutMs?: number;
  clock?: Clock;
}

/** The client's end of a command that runs here: exec and attach. */
export interface RemoteCommand {
  /** As negotiated, for logs. */
  protocol: string;
  /** Ends when the client ends its input or goes. */
  stdin?: Readable;
  stdout?: Writable;
  stderr?: Writable;
  /** Aborts when the client is gone; not by exit(). */
  signal: AbortSignal;
  /** Calls back for every size of the client's terminal, at once with the last one known. */
  onResize(listener: (size: TerminalSize) => void): void;
  /**
   * Sends what is still to be sent (or with `discard` drops it), then how the command has ended, and closes. Idempotent.
   */
  exit(status: ExitStatus, options?: { discard?: boolean }): Promise<void>;
}

/** SPDY: newest first. v5 has the same streams as v4 there. */
const spdyProtocols = [
  'v5.channel.k8s.io',
  'v4.channel.k8s.io',
  'v3.channel.k8s.io',
  'v2.channel.k8s.io',
  'channel.k8s.io',
];
const webSocketProtocols = [
  'v5.channel.k8s.io',
  'v4.channel.k8s.io',
  'v4.base64.channel.k8s.io',
  'channel.k8s.io',
  'base64.channel.k8s.io',
  '',
];
/** WebSocket channels. */
const channels = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4 } as const;
const defaults = { setupTimeoutMs: 30_000, idleTimeoutMs: 4 * 3600 * 1000 };

/**
 * Takes the connection of a client that wants to exec or attach, in SPDY/3.1 or WebSocket, whichever protocol version it
 * knows. Gives undefined when there is no common one or the client does not open its streams; it has been told then.
 */
export async function serveRemoteCommand(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  options: RemoteCommandOptions,
): Promise<RemoteCommand | undefined> {
  if (isWebSocket(request)) return serveWebSocket(request, socket, head, options);
  if (/^spdy\/3\.1$/i.test(request.headers.upgrade ?? '')) return serveSpdy(request, socket, head, options);
  refuseUpgrade(socket, 400, `unable to upgrade: unknown protocol ${JSON.stringify(request.headers.upgrade ?? '')}`);
  return undefined;
}

/** The versions a SPDY client offers, in its order. */
export function offeredStreamProtocols(request: IncomingMessage): string[] {
  return [request.headers['x-stream-protocol-version'] ?? []]
    .flat()
    .flatMap((line) => line.split(','))
    .map((one) => one.trim())
    .filter((one) => one !== '');
}

function formatFor(protocol: string, status: ExitStatus): string {
  return /^v[45]\./.test(protocol) ? formatExitStatus(status) : formatExitText(status);
}

async function serveWebSocket(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  options: RemoteCommandOptions,
): Promise<RemoteCommand | undefined> {
  const accepted = await acceptWebSocket(request, socket, head, webSocketProtocols);
  if (!accepted) return undefined;
  const { webSocket, protocol } = accepted;
  const clock = options.clock ?? systemClock;
  const gone = new AbortController();
  const over = new AbortController();
  let lastActivity = clock.monotonic();
  const streams = new WebSocketChannels(webSocket, protocol, () => {
    lastActivity = clock.monotonic();
  });
  webSocket.on('close', () => {
    over.abort();
    gone.abort(new Error('the client has gone'));
  });
  watchIdle(
    clock,
    options.idleTimeoutMs ?? defaults.idleTimeoutMs,
    () => lastActivity,
    over.signal,
    () => webSocket.terminate(),
  );
  keepBeating(clock, over.signal, () => webSocket.pong());
  const sizes = new TerminalSizes();
  if (options.tty) streams.stream(channels.resize).on('data', (chunk: Buffer) => sizes.add(chunk));
  const outputs = (['stdout', 'stderr'] as const).filter((name) => options[name]);
  for (const name of outputs) streams.stream(channels[name]).resume();
  // Tells the client that the command is about to run.
  streams.send(channels[outputs[0] ?? 'error'], Buffer.alloc(0));
  let ended = false;
  return {
    protocol,
    ...(options.stdin ? { stdin: streams.stream(channels.stdin) } : {}),
    ...Object.fromEntries(outputs.map((name) => [name, streams.stream(channels[name])])),
    signal: gone.signal,
    onResize: (listener) => sizes.onSize(listener),
    exit: async (status, exitOptions) => {
      if (ended) return;
      ended = true;
      await Promise.all(outputs.map((name) => finish(streams.stream(channels[name]), exitOptions?.discard)));
      const text = formatFor(protocol, status);
      if (text !== '') streams.send(channels.error, Buffer.from(text));
      streams.close();
    },
  };
}

/** Streams that a SPDY client has to open. */
function expectedStreams(options: RemoteCommandOptions, protocol: string): string[] {
  const resizes = options.tty && /^v[345]\./.test(protocol);
  return [
    'error',
    ...(['stdin', 'stdout', 'stderr'] as const).filter((name) => options[name]),
    ...(resizes ? ['resize'] : []),
  ];
}

async function serveSpdy(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  options: RemoteCommandOptions,
): Promise<RemoteCommand | undefined> {
  const offered = offeredStreamProtocols(request);
  const protocol = offered.length === 0 ? 'channel.k8s.io' : offered.find((one) => spdyProtocols.includes(one));
  if (!protocol) {
    const list = `client supports [${offered.join(' ')}], server accepts [${spdyProtocols.join(' ')}]`;
    refuseUpgrade(socket, 403, `unable to upgrade: unable to negotiate protocol: ${list}`);
    return undefined;
  }
  acceptUpgrade(socket, 'SPDY/3.1', offered.length > 0 ? { 'X-Stream-Protocol-Version': protocol } : {});
  const clock = options.clock ?? systemClock;
  const gone = new AbortController();
  const streams = new Map<string, SpdyStream>();
  const expected = expectedStreams(options, protocol);
  const complete = Promise.withResolvers<boolean>();
  const session = new SpdySession(
    socket,
    {
      role: 'server',
      clock,
      onStream: (stream) => {
        const type = stream.headers['streamtype'] ?? '';
        if (!expected.includes(type) || streams.has(type)) return void stream.destroy();
        streams.set(type, stream);
        if (streams.size === expected.length) complete.resolve(true);
      },
      onClose: () => {
        complete.resolve(false);
        gone.abort(new Error('the client has gone'));
      },
    },
    head,
  );
  const timer = clock.after(options.setupTimeoutMs ?? defaults.setupTimeoutMs, () => complete.resolve(false));
  const isComplete = await complete.promise;
  timer.cancel();
  if (!isComplete) {
    session.close();
    return undefined;
  }
  watchIdle(
    clock,
    options.idleTimeoutMs ?? defaults.idleTimeoutMs,
    () => session.lastActivity,
    gone.signal,
    () => session.destroy(),
  );
  keepBeating(clock, gone.signal, () => session.beat());
  return commandOf(session, protocol, streams, gone.signal);
}

function commandOf(
  session: SpdySession,
  protocol: string,
  streams: Map<string, SpdyStream>,
  signal: AbortSignal,
): RemoteCommand {
  const sizes = new TerminalSizes();
  streams.get('resize')?.on('data', (chunk: Buffer) => sizes.add(chunk));
  const outputs = ['stdout', 'stderr'].flatMap((name) => streams.get(name) ?? []);
  for (const stream of [...outputs, streams.get('error')!]) stream.resume();
  let ended = false;
  return {
    protocol,
    ...Object.fromEntries(
      ['stdin', 'stdout', 'stderr'].filter((name) => streams.has(name)).map((name) => [name, streams.get(name)]),
    ),
    signal,
    onResize: (listener) => sizes.onSize(listener),
    exit: async (status, { discard } = {}) => {
      if (ended) return;
      ended = true;
      await Promise.all(outputs.map((stream) => finish(stream, discard)));
      const error = streams.get('error')!;
      const text = formatFor(protocol, status);
      if (text !== '') error.write(text);
      const said = finish(error);
      if (!discard) await said;
      session.close();
    },
  };
}

/** Ends a stream and waits until its bytes are with the connection, or can be no more. */
async function finish(stream: Writable, discard = false): Promise<void> {
  if (discard) return void stream.destroy();
  if (stream.destroyed || stream.writableFinished) return;
  stream.end();
  await finished(stream, { readable: false }).catch(() => {});
}
