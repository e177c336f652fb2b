/** DNS messages over UDP and TCP (RFC 1035, 7766): bytes in, bytes out; what they mean is for others. */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createConnection, createServer, isIPv6, type Server, type Socket } from 'node:net';
import { type Clock, systemClock, withDeadline } from '../../async/index.ts';

/** Raised when a server cannot listen, or does not answer. `code` is Node's, or DEADLINE_EXCEEDED. */
export class DnsTransportError extends Error {
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Who asks, and how. */
export interface DnsPeer {
  address: string;
  transport: 'udp' | 'tcp';
}

/** Answers a message; undefined says nothing. Must not throw. */
export type DnsHandler = (message: Buffer, peer: DnsPeer) => Promise<Buffer | undefined>;

/** A server that listens. */
export interface DnsListener {
  /** The port of both transports. */
  port: number;
  /**
   * Listens for UDP also at one address in particular. A socket for all addresses answers from the one that the route
   * back prefers, which may not be the one that was asked; a client behind a translation then takes it for a stranger.
   * Doing it again for the same address does nothing. @throws DnsTransportError
   */
  listenAt(address: string): Promise<void>;
  close(): Promise<void>;
}

/** TCP connections at once, and how long one may be silent, milliseconds. */
const limits = { connections: 256, idleMs: 10_000 };

/** Listens on one address and port with both transports; port 0 takes a free one. @throws DnsTransportError */
export async function serveDns(
  options: { host: string; port: number; clock?: Clock },
  handler: DnsHandler,
): Promise<DnsListener> {
  const clock = options.clock ?? systemClock;
  const sockets = new Set<Socket>();
  const tcp = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    serveConnection(socket, handler, clock);
  });
  tcp.maxConnections = limits.connections;
  const port = await listenTcp(tcp, options);
  const udp = new Map<string, UdpSocket>();
  const listenAt = async (address: string): Promise<void> => {
    if (udp.has(address)) return;
    try {
      udp.set(address, await openUdp(address, port, handler));
    } catch (error) {
      throw listenError(error, { host: address, port });
    }
  };
  try {
    await listenAt(options.host);
  } catch (error) {
    tcp.close();
    throw error;
  }
  return {
    port,
    listenAt,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await Promise.all([
        new Promise<void>((resolve) => tcp.close(() => resolve())),
        ...[...udp.values()].map((socket) => new Promise<void>((resolve) => socket.close(() => resolve()))),
      ]);
    },
  };
}

function openUdp(host: string, port: number, handler: DnsHandler): Promise<UdpSocket> {
  // Sharing lets one address have a socket of its own beside the one for all; who has the TCP port is alone anyway.
  const socket = createSocket({ type: isIPv6(host) ? 'udp6' : 'udp4', recvBufferSize: 1024 * 1024, reuseAddr: true });
  socket.on('message', (message, { address, port: from }) => {
    void handler(message, { address, transport: 'udp' }).then((answer) => {
      if (answer) socket.send(answer, from, address, () => {});
    });
  });
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, host, () => {
      socket.off('error', reject);
      socket.on('error', () => {});
      resolve(socket);
    });
  });
}

function listenTcp(server: Server, options: { host: string; port: number }): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(listenError(error, options)));
    server.listen(options.port, options.host, () => {
      server.removeAllListeners('error');
      server.on('error', () => {});
      resolve((server.address() as { port: number }).port);
    });
  });
}

function listenError(error: unknown, { host, port }: { host: string; port: number }): DnsTransportError {
  const { code = 'UNKNOWN' } = error as { code?: string };
  return new DnsTransportError(code, `cannot listen for DNS on ${host} port ${port}`, { cause: error });
}

/** Messages on a connection come with their length in front, and may be asked one after another without waiting. */
function serveConnection(socket: Socket, handler: DnsHandler, clock: Clock): void {
  const peer: DnsPeer = { address: socket.remoteAddress ?? '', transport: 'tcp' };
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  const close = () => socket.destroy();
  let idle = clock.after(limits.idleMs, close);
  socket.on('close', () => idle.cancel());
  readFrames(socket, (message) => {
    idle.cancel();
    idle = clock.after(limits.idleMs, close);
    void handler(message, peer).then((answer) => {
      if (answer && socket.writable) socket.write(frame(answer));
    });
  });
}

function frame(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

function readFrames(socket: Socket, onMessage: (message: Buffer) => void): void {
  let rest: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    rest = Buffer.concat([rest, chunk as Buffer]);
    while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
      const end = 2 + rest.readUInt16BE(0);
      onMessage(rest.subarray(2, end));
      rest = rest.subarray(end);
    }
  });
}

/**
 * Asks another server. Every UDP question has a socket, and so a source port, of its own; answers from elsewhere or
 * with another id are not taken. @throws DnsTransportError
 */
export async function askDns(
  server: { host: string; port: number },
  message: Buffer,
  options: { transport: 'udp' | 'tcp'; timeoutMs: number; clock?: Clock },
): Promise<Buffer> {
  const ask = options.transport === 'udp' ? askUdp : askTcp;
  try {
    return await withDeadline(
      `answer of ${server.host}`,
      options.timeoutMs,
      (signal) => ask(server, message, signal),
      options.clock ? { clock: options.clock } : {},
    );
  } catch (error) {
    const { code = 'UNKNOWN', message: text } = error as Error & { code?: string };
    throw new DnsTransportError(code, text, { cause: error });
  }
}

function askUdp(server: { host: string; port: number }, message: Buffer, signal: AbortSignal): Promise<Buffer> {
  const socket = createSocket(isIPv6(server.host) ? 'udp6' : 'udp4');
  const answer = new Promise<Buffer>((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    socket.on('error', reject);
    socket.on('message', (reply) => {
      if (reply.length >= 12 && reply.readUInt16BE(0) === message.readUInt16BE(0)) resolve(reply);
    });
    // Connected: the kernel drops what comes from elsewhere, and reports a port where nobody listens.
    const connected = (error?: Error): void => {
      if (error || signal.aborted) return reject(error ?? signal.reason);
      socket.send(message, (failed) => failed && reject(failed));
    };
    socket.connect(server.port, server.host, connected as () => void);
  });
  return answer.finally(() => socket.close());
}

function askTcp(server: { host: string; port: number }, message: Buffer, signal: AbortSignal): Promise<Buffer> {
  const socket = createConnection({ host: server.host, port: server.port });
  const answer = new Promise<Buffer>((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    socket.on('error', reject);
    socket.on('close', () => reject(new DnsTransportError('ECONNRESET', `${server.host} closed the connection`)));
    readFrames(socket, (reply) => {
      if (reply.length >= 12 && reply.readUInt16BE(0) === message.readUInt16BE(0)) resolve(reply);
    });
    socket.on('connect', () => socket.write(frame(message)));
  });
  return answer.finally(() => socket.destroy());
}
