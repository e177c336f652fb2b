import type { Duplex } from 'node:stream';

// Not imported: see wire/http/node-http.ts.
const { STATUS_CODES } = process.getBuiltinModule('node:http');

/** Answers an upgrade with an ordinary response and closes the connection. */
export function refuseUpgrade(
  socket: Duplex,
  status: number,
  body: string | Buffer,
  contentType = 'text/plain; charset=utf-8',
): void {
  if (socket.destroyed) return;
  const content = Buffer.isBuffer(body) ? body : Buffer.from(body);
  socket.on('error', () => {});
  socket.write(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\nContent-Type: ${contentType}\r\n` +
      `Content-Length: ${content.length}\r\nConnection: close\r\n\r\n`,
  );
  socket.once('finish', () => socket.destroy());
  socket.end(content);
}

/** Accepts an upgrade that is not a WebSocket. */
export function acceptUpgrade(socket: Duplex, protocol: string, headers: Record<string, string> = {}): void {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n${lines.join('')}\r\n`,
  );
}
