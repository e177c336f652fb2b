import type { IncomingMessage } from 'node:http';
import { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { refuseUpgrade } from './upgrade-response.ts';

/** Longest message that is taken, bytes. */
const maximumMessage = 16 << 20;
/** Unread bytes of one channel beyond which nothing more is read from the connection. */
const unreadLimit = 1 << 20;

/** The subprotocols that a client of a WebSocket offers, in its order. */
export function offeredProtocols(request: IncomingMessage): string[] {
  return (request.headers['sec-websocket-protocol'] ?? '')
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '');
}

/** Whether a request asks for a WebSocket. */
export function isWebSocket(request: IncomingMessage): boolean {
  return /^websocket$/i.test(request.headers.upgrade ?? '');
}

/**
 * Whether a client knows nothing but the newest dialects: v5 channels, or SPDY inside of a WebSocket. Most runtimes speak
 * the older ones and SPDY.
 */
export function offersOnlyNewDialects(request: IncomingMessage): boolean {
  const offered = offeredProtocols(request);
  return isWebSocket(request) && offered.length > 0 && offered.every((one) => /^(v5\.|SPDY\/)/.test(one));
}

/**
 * Accepts a WebSocket with the first subprotocol of the client's that is supported (`''` stands for a client that offers
 * none). Otherwise answers 403 and gives undefined.
 */
export async function acceptWebSocket(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  supported: readonly string[],
): Promise<{ webSocket: WebSocket; protocol: string } | undefined> {
  const offered = offeredProtocols(request);
  const protocol = offered.length === 0 ? '' : offered.find((one) => supported.includes(one));
  if (protocol === undefined || !supported.includes(protocol)) {
    refuseUpgrade(
      socket,
      403,
      `unable to upgrade: unable to negotiate protocol: client supports [${offered.join(' ')}], server accepts [${supported.filter((one) => one !== '').join(' ')}]`,
    );
    return undefined;
  }
  const { WebSocketServer } = await import('ws');
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: maximumMessage,
  });
  // The library refuses names with a slash, which the one of port-forward has: it does not get to see any.
  delete request.headers['sec-websocket-protocol'];
  if (protocol !== '') server.on('headers', (headers) => headers.push(`Sec-WebSocket-Protocol: ${protocol}`));
  return new Promise((resolve) => {
    socket.once('close', () => resolve(undefined));
    server.on('wsClientError', (error) => refuseUpgrade(socket, 400, error.message));
    server.handleUpgrade(request, socket, head, (webSocket) => {
      webSocket.on('error', () => {});
      // Nothing may come before somebody listens; whoever does resumes it.
      webSocket.pause();
      resolve({ webSocket, protocol });
    });
  });
}

/** Channel number of the v5 message that ends another channel. */
const closeChannel = 255;

/**
 * Several byte streams over one WebSocket: the first byte of a message is the number of its stream (in the base64
 * dialect: a digit, and the rest is base64).
 */
export class WebSocketChannels {
  readonly #webSocket: WebSocket;
  readonly #base64: boolean;
  readonly #canClose: boolean;
  readonly #onActivity: () => void;
  readonly #streams = new Map<number, ChannelStream>();
  readonly #paused = new Set<number>();

  constructor(webSocket: WebSocket, protocol: string, onActivity: () => void = () => {}) {
    this.#webSocket = webSocket;
    this.#onActivity = onActivity;
    // Pongs are heartbeats, like ours, and say nothing of use.
    for (const event of ['message', 'ping'] as const) webSocket.on(event, onActivity);
    this.#base64 = protocol.includes('base64');
    this.#canClose = protocol.startsWith('v5.');
    webSocket.binaryType = 'nodebuffer';
    webSocket.on('message', (data) =>
      this.#onMessage(Buffer.isBuffer(data) ? data : Buffer.concat([data].flat() as Buffer[])),
    );
    webSocket.on('close', () => {
      for (const stream of this.#streams.values()) stream.receive(null);
    });
    webSocket.resume();
  }

  /** The stream of a channel. What clients send on a channel that nobody has asked for is dropped. */
  stream(channel: number): ChannelStream {
    const known = this.#streams.get(channel);
    if (known) return known;
    const stream = new ChannelStream({
      send: (bytes, callback) => this.send(channel, bytes, callback),
      full: (is) => this.#onFull(channel, is),
    });
    this.#streams.set(channel, stream);
    return stream;
  }

  send(channel: number, bytes: Buffer, callback: (error?: Error | null) => void = () => {}): void {
    this.#onActivity();
    if (this.#base64) this.#webSocket.send(`${channel}${bytes.toString('base64')}`, callback);
    else this.#webSocket.send(Buffer.concat([Buffer.from([channel]), bytes]), { binary: true }, callback);
  }

  close(): void {
    this.#webSocket.close(1000);
    this.#webSocket.resume();
  }

  #onMessage(message: Buffer): void {
    if (message.length === 0) return;
    const channel = this.#base64 ? message[0]! - 0x30 : message[0]!;
    if (channel === closeChannel && this.#canClose) return this.#streams.get(message[1] ?? closeChannel)?.receive(null);
    const bytes = this.#base64 ? Buffer.from(message.toString('latin1', 1), 'base64') : message.subarray(1);
    if (bytes.length > 0) this.#streams.get(channel)?.receive(bytes);
  }

  /** A reader that is too slow holds up the whole connection: the protocol knows no other way. */
  #onFull(channel: number, is: boolean): void {
    if (is) this.#paused.add(channel);
    else this.#paused.delete(channel);
    if (this.#paused.size > 0) this.#webSocket.pause();
    else this.#webSocket.resume();
  }
}

interface ChannelOwner {
  send: (bytes: Buffer, callback: (error?: Error | null) => void) => void;
  full: (is: boolean) => void;
}

/** One channel, as a stream in both directions. Its errors never go unheard. */
export class ChannelStream extends Duplex {
  readonly #owner: ChannelOwner;
  #full = false;
  #over = false;

  constructor(owner: ChannelOwner) {
    super({ allowHalfOpen: true, autoDestroy: false, writableHighWaterMark: 64 * 1024 });
    this.#owner = owner;
    this.on('error', () => {});
  }

  /** Bytes of the client; null: there are no more. */
  receive(bytes: Buffer | null): void {
    if (this.#over || this.destroyed) return;
    if (bytes === null) this.#over = true;
    this.push(bytes);
    if (bytes === null || this.readableLength < unreadLimit || this.#full) return;
    this.#full = true;
    this.#owner.full(true);
  }

  override _read(): void {
    if (!this.#full) return;
    this.#full = false;
    this.#owner.full(false);
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#owner.send(chunk, callback);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (this.#full) this.#owner.full(false);
    this.#full = false;
    callback(error);
  }
}
