/**
 * A raw WebSocket client in a network namespace: node web-socket-client-process.ts URL PROTOCOL TOKEN [STDIN]
 * Prints one line of JSON: the protocol that was agreed on, what came by channel, and how it ended.
 */
import { WebSocket } from 'ws';

const [url = '', protocol = '', token = '', stdin] = process.argv.slice(2);
const socket = new WebSocket(url, protocol.split(','), {
  rejectUnauthorized: false,
  headers: { authorization: `Bearer ${token}` },
});
const channels: Record<string, string> = {};
const end = (more: object): void => {
  console.log(JSON.stringify({ protocol: socket.protocol, channels, ...more }));
  process.exit(0);
};
const startedAt = performance.now();
socket.on('open', () => {
  if (stdin === undefined) return;
  const isBase64 = socket.protocol.startsWith('base64.');
  socket.send(
    isBase64 ? `0${Buffer.from(stdin).toString('base64')}` : Buffer.concat([Buffer.of(0), Buffer.from(stdin)]),
  );
  // v5 has a way to say that the input has ended.
  if (socket.protocol === 'v5.channel.k8s.io') socket.send(Buffer.of(255, 0));
});
socket.on('message', (data: Buffer) => {
  const isBase64 = socket.protocol.startsWith('base64.');
  const channel = isBase64 ? String.fromCharCode(data[0]!) : String(data[0]);
  const text = isBase64 ? Buffer.from(data.subarray(1).toString(), 'base64').toString() : data.subarray(1).toString();
  channels[channel] = (channels[channel] ?? '') + text;
});
socket.on('unexpected-response', (_request, response) => {
  const chunks: Buffer[] = [];
  response.on('data', (chunk: Buffer) => chunks.push(chunk));
  response.on('end', () => end({ status: response.statusCode, body: Buffer.concat(chunks).toString() }));
});
socket.on('error', (error) => end({ error: error.message }));
socket.on('close', (code) => end({ code, ms: Math.round(performance.now() - startedAt) }));
setTimeout(() => end({ error: 'nothing ended it' }), 20_000);
