import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { finished } from 'node:stream/promises';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { createHttpServer, HttpClient } from '../http/index.ts';
import { servePortForward, tunnelProtocol } from './port-forward.ts';
import { SpdySession } from './spdy/index.ts';
import { dialSpdy } from './stream-client.ts';
import { translatePortForward } from './translate-upgrade.ts';

/** Port 80 answers what it hears, in upper case; nothing else listens. */
async function forward(port: number, stream: Duplex): Promise<void> {
  if (port !== 80) throw new Error('connection refused');
  stream.on('data', (chunk: Buffer) => stream.write(chunk.toString().toUpperCase()));
  await finished(stream, { writable: false });
}

/** SPDY in WebSocket messages, from a client that may name any subprotocol; messages are short here. */
async function openTunnel(path: string): Promise<Duplex> {
  const answer = await client.upgrade({
    path,
    headers: {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      'sec-websocket-protocol': tunnelProtocol,
    },
  });
  assert.ok('socket' in answer);
  assert.equal(answer.headers['sec-websocket-protocol'], tunnelProtocol);
  const { socket } = answer;
  let rest = answer.head;
  const tunnel = new Duplex({
    read: () => {},
    write: (chunk: Buffer, _encoding, callback) => {
      assert.ok(chunk.length < 126);
      socket.write(Buffer.concat([Buffer.from([0x82, 0x80 | chunk.length, 0, 0, 0, 0]), chunk]), callback);
    },
    final: (callback) => void socket.end(callback),
  });
  const onData = (chunk: Buffer): void => {
    rest = Buffer.concat([rest, chunk]);
    for (;;) {
      const long = rest.length >= 4 && rest[1] === 126;
      const [from, length] = long ? [4, rest.readUInt16BE(2)] : [2, rest[1] ?? 0];
      if (rest.length < from + length || rest.length < 2) return;
      tunnel.push(rest.subarray(from, from + length));
      rest = rest.subarray(from + length);
    }
  };
  onData(Buffer.alloc(0));
  socket.on('data', onData);
  socket.on('end', () => tunnel.push(null));
  return tunnel;
}

const server = createHttpServer({
  handler: (_request, response) => void response.end(),
  upgrade: (request, socket, head) => {
    if (request.url === '/translate') void translatePortForward(request, socket, head, { client, path: '/' });
    else void servePortForward(request, socket, head, { forward });
  },
});
let client: HttpClient;
let url = '';
before(async () => {
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  url = `127.0.0.1:${port}`;
  client = new HttpClient({ baseUrl: `http://${url}` });
});
after(async () => {
  client.close();
  await server.close();
});

/** Forwards over a session as kubectl does. */
async function useSession(session: SpdySession): Promise<void> {
  const request = async (port: number, id: number, say: string): Promise<[string, string]> => {
    const headers = { port: String(port), requestid: String(id) };
    const error = session.open({ streamtype: 'error', ...headers }, { finished: true });
    const data = session.open({ streamtype: 'data', ...headers });
    data.end(say);
    return Promise.all([text(data), text(error)]);
  };
  const answers = await Promise.all([request(80, 0, 'one'), request(80, 1, 'two'), request(81, 2, 'three')]);
  assert.deepEqual(answers, [
    ['ONE', ''],
    ['TWO', ''],
    ['', 'error forwarding port 81: connection refused'],
  ]);
  session.close();
}

test('SPDY: connections side by side, each with its error stream', async () => {
  const { socket, head } = await dialSpdy({ client, path: '/' }, ['portforward.k8s.io']);
  await useSession(new SpdySession(socket, { role: 'client' }, head));
});

test('SPDY inside of a WebSocket, at the server and translated', async () => {
  for (const path of ['/', '/translate']) {
    await useSession(new SpdySession(await openTunnel(path), { role: 'client' }));
  }
});

test('WebSocket channels: two for each port, which say the port first', async () => {
  const socket = new WebSocket(`ws://${url}/?port=80,81`, ['v4.channel.k8s.io']);
  const messages: string[] = [];
  const heard = Promise.withResolvers<void>();
  socket.on('message', (data: Buffer) => {
    messages.push(data.toString('latin1'));
    if (messages.some((one) => one === '\x00HELLO') && messages.some((one) => one.includes('refused'))) heard.resolve();
  });
  await once(socket, 'open');
  socket.send(Buffer.from('\x00hello'));
  await heard.promise;
  for (const first of ['\x00P\x00', '\x01P\x00', '\x02Q\x00', '\x03Q\x00']) assert.ok(messages.includes(first));
  assert.ok(messages.includes('\x03error forwarding port 81: connection refused'));
  socket.close();
  const bad = new WebSocket(`ws://${url}/?port=0`, ['v4.channel.k8s.io']);
  const [error] = (await once(bad, 'error')) as [Error];
  assert.match(error.message, /400/);
});
