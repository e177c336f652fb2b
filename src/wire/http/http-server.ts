import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import { http, https } from './node-http.ts';

/** How a server presents itself, and what it accepts. */
export interface ServerTls {
  /** PEM. Without one no handshake succeeds, until {@link HttpServer.setTls} brings it. */
  cert?: string | Buffer;
  key?: string | Buffer;
  /** Ask clients for a certificate signed by this; one that is signed by nobody known counts as none. */
  clientCa?: string | Buffer;
  /** Least version. Default: Node's. */
  minVersion?: 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3';
  /** OpenSSL's names, with colons between. */
  ciphers?: string;
  ecdhCurve?: string;
}

/** What an HTTP server does. */
export interface HttpServerOptions {
  handler: (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;
  /** Takes connections that ask for another protocol; without it they are refused. The socket is raw. */
  upgrade?: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
  /** Serve HTTPS. */
  tls?: ServerTls;
  /** Told of handlers that throw; the client gets a 500. */
  onError?: (error: unknown, request: IncomingMessage) => void;
}

/** Where a server listens. `::` takes IPv4 connections too, unless `ipv6Only`. */
export type ListenPlace = { host: string; port: number; ipv6Only?: boolean } | { socketPath: string };

/** A server that can be ended at once. */
export interface HttpServer {
  /** Starts to listen. @throws ListenError saying what is in the way */
  listen(where: ListenPlace): Promise<{ host: string; port: number }>;
  /** Stops listening and drops every connection, upgraded ones too. */
  close(): Promise<void>;
  /** Replaces certificate and key for new connections. */
  setCertificate(cert: string | Buffer, key: string | Buffer): void;
  /** Replaces everything for new connections; whether clients are asked for certificates stays as it was at the start. */
  setTls(tls: ServerTls): void;
}

/** A place that cannot be listened on; the message says so in one sentence. */
export class ListenError extends Error {
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Makes an HTTP or HTTPS server. */
export function createHttpServer(options: HttpServerOptions): HttpServer {
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    void (async () => options.handler(request, response))().catch((error: unknown) => {
      options.onError?.(error, request);
      if (!response.headersSent) response.writeHead(500).end();
      else response.destroy();
    });
  };
  const { tls } = options;
  const server: Server = tls
    ? https.createServer(
        {
          ...contextOf(tls),
          ...(tls.clientCa ? { requestCert: true } : {}),
          rejectUnauthorized: false,
          noDelay: true,
          keepAliveTimeout: 120_000,
        },
        onRequest,
      )
    : http.createServer({ noDelay: true, keepAliveTimeout: 120_000 }, onRequest);
  server.requestTimeout = 0;
  server.headersTimeout = 60_000;
  const sockets = new Set<Socket>();
  server.on(tls ? 'secureConnection' : 'connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
  });
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => {});
    if (options.upgrade) options.upgrade(request, socket, head);
    else socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
  });
  const setTls = (to: ServerTls): void =>
    (server as ReturnType<typeof https.createServer>).setSecureContext(contextOf(to));
  return {
    listen: (where) => listen(server, where),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
        if (!server.listening) resolve();
      }),
    setCertificate: (cert, key) => setTls({ ...tls, cert, key }),
    setTls,
  };
}

function contextOf({ clientCa, ...rest }: ServerTls): SecureContextOptions {
  return { ...rest, ...(clientCa ? { ca: clientCa } : {}) };
}

function listen(server: Server, where: ListenPlace): Promise<{ host: string; port: number }> {
  return new Promise((resolve, reject) => {
    const place = 'socketPath' in where ? where.socketPath : `${where.host}:${where.port}`;
    const onError = (cause: NodeJS.ErrnoException): void => reject(toListenError(place, cause));
    server.once('error', onError);
    server.listen(
      'socketPath' in where
        ? { path: where.socketPath }
        : { host: where.host, port: where.port, ipv6Only: where.ipv6Only ?? false, backlog: 1024 },
      () => {
        server.off('error', onError);
        const address = server.address();
        resolve(
          typeof address === 'object' && address
            ? { host: (address as AddressInfo).address, port: (address as AddressInfo).port }
            : { host: place, port: 0 },
        );
      },
    );
  });
}

function toListenError(place: string, cause: NodeJS.ErrnoException): ListenError {
  const port = place.split(':').at(-1);
  const texts: Record<string, string> = {
    EADDRINUSE: `port ${port} is already in use (listening on ${place}): stop what uses it, or choose another address`,
    EACCES: `not allowed to listen on ${place}: run as root or use a port above 1023`,
    EADDRNOTAVAIL: `this machine has no address ${place}: choose one of its own`,
  };
  return new ListenError(
    cause.code ?? 'EIO',
    texts[cause.code ?? ''] ?? `cannot listen on ${place}: ${cause.message}`,
    { cause },
  );
}

/** The verified certificate of the client of a request: its common name and organizations; undefined without one. */
export function clientCertificateOf(
  request: IncomingMessage,
): { commonName: string; organizations: string[] } | undefined {
  const socket = request.socket as TLSSocket;
  if (!socket.authorized || !socket.getPeerCertificate) return undefined;
  const { subject } = socket.getPeerCertificate();
  if (!subject?.CN) return undefined;
  const organizations = subject.O as string | string[] | undefined;
  return { commonName: String(subject.CN), organizations: organizations === undefined ? [] : [organizations].flat() };
}
