import type { IncomingMessage } from 'node:http';
import { connect as connectPlain } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectSecure } from 'node:tls';

/** Where an upgrade is passed on to. */
export interface UpgradeTarget {
  /** `http://host:port/path?query` or `https://…` */
  url: string;
  /** For https: who may have signed the server's certificate, and who we are; PEM. */
  ca?: string | Buffer;
  cert?: string | Buffer;
  key?: string | Buffer;
  insecureSkipTlsVerify?: boolean;
  /** Header fields to put in place of the client's; undefined takes one out. */
  headers?: Record<string, string | undefined>;
}

/**
 * Passes a request for another protocol (SPDY, WebSocket) on unread: sends its header to the target and then lets bytes
 * through both ways until either side ends. A target that cannot be reached is answered with 502 and the reason.
 */
export function tunnelUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer, target: UpgradeTarget): void {
  const url = new URL(target.url);
  const secure = url.protocol === 'https:';
  const address = { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || (secure ? 443 : 80)) };
  const upstream = secure
    ? connectSecure({
        ...address,
        ...(target.ca ? { ca: target.ca } : {}),
        ...(target.cert ? { cert: target.cert, key: target.key } : {}),
        rejectUnauthorized: !target.insecureSkipTlsVerify,
        ALPNProtocols: ['http/1.1'],
      })
    : connectPlain(address);
  let connected = false;
  upstream.setNoDelay(true);
  upstream.once(secure ? 'secureConnect' : 'connect', () => {
    connected = true;
    upstream.write(formatHeader(request, url, target.headers ?? {}));
    if (head.length > 0) upstream.write(head);
    socket.pipe(upstream);
    upstream.pipe(socket);
  });
  upstream.on('error', (error) => {
    if (connected) socket.destroy();
    else refuseUpgrade(socket, 502, `error dialing ${url.host}: ${error.message}`);
  });
  socket.on('error', () => upstream.destroy());
  socket.on('close', () => upstream.destroy());
  upstream.on('close', () => socket.destroy());
}

/** Answers a request for another protocol with an error and ends the connection. */
export function refuseUpgrade(socket: Duplex, status: number, message: string, contentType = 'text/plain'): void {
  const body = Buffer.from(message);
  socket.end(
    `HTTP/1.1 ${status} ${reasons[status] ?? 'Error'}\r\nConnection: close\r\nContent-Type: ${contentType}\r\nContent-Length: ${body.length}\r\n\r\n${message}`,
  );
}

const reasons: Record<number, string> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
};

function formatHeader(request: IncomingMessage, url: URL, replaced: Record<string, string | undefined>): string {
  const lines = [`${request.method} ${url.pathname}${url.search} HTTP/1.1`, `Host: ${url.host}`];
  const taken = new Set(['host', ...Object.keys(replaced).map((name) => name.toLowerCase())]);
  for (let at = 0; at < request.rawHeaders.length; at += 2) {
    if (!taken.has(request.rawHeaders[at]!.toLowerCase()))
      lines.push(`${request.rawHeaders[at]}: ${request.rawHeaders[at + 1]}`);
  }
  for (const [name, value] of Object.entries(replaced)) if (value !== undefined) lines.push(`${name}: ${value}`);
  return `${lines.join('\r\n')}\r\n\r\n`;
}
