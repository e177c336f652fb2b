import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { FakeClock, pollUntil } from '../../async/index.ts';
import { createHttpServer, HttpClient } from '../http/index.ts';
import { type RemoteCommand, serveRemoteCommand } from './remote-command.ts';
import { openRemoteCommand } from './stream-client.ts';

const clock = new FakeClock();
const arrived: ((command: RemoteCommand) => void)[] = [];
const server = createHttpServer({
  handler: (_request, response) => void response.end(),
  upgrade: (request, socket, head) => {
    const options = {
      stdin: true,
      stdout: true,
      stderr: false,
      tty: request.url === '/tty',
      clock,
      idleTimeoutMs: 60_000,
    };
    void serveRemoteCommand(request, socket, head, options).then((command) => command && arrived.shift()?.(command));
  },
});
let url = '';
before(async () => {
  url = `127.0.0.1:${(await server.listen({ host: '127.0.0.1', port: 0 })).port}`;
});
after(() => server.close());

/** A client, and the server's side of it. */
async function meet(protocol = 'v5.channel.k8s.io', path = '/') {
  const command = new Promise<RemoteCommand>((resolve) => arrived.push(resolve));
  const socket = new WebSocket(`ws://${url}${path}`, [protocol]);
  socket.on('error', () => {});
  await once(socket, 'open');
  return { socket, command: await command };
}

/** Small repeatable random numbers. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return state % below;
  };
}

test('messages that make no sense are passed over', async () => {
  for (const protocol of ['v5.channel.k8s.io', 'v4.channel.k8s.io', 'v4.base64.channel.k8s.io']) {
    const { socket, command } = await meet(protocol, '/tty');
    const input = buffer(command.stdin!);
    const next = numbers(7);
    const base64 = protocol.includes('base64');
    for (let i = 0; i < 500; i++) {
      const bytes = randomBytes(next(300));
      // Anything but input and, in v5, its end.
      if (bytes.length > 0) bytes[0] = base64 ? 0x31 + next(200) : 1 + next(254);
      // Text must be text, or the connection ends.
      if (i % 2) socket.send(bytes);
      else
        socket.send(Buffer.from(bytes.map((byte, at) => (at > 0 ? byte & 0x7f : 0x31 + (byte & 0x0f)))), {
          binary: false,
        });
    }
    socket.send('');
    socket.send(Buffer.from([255]));
    socket.send(Buffer.from([255, 77]));
    socket.send(base64 ? `0${Buffer.from('sense').toString('base64')}` : Buffer.from('\0sense'));
    if (protocol.startsWith('v5')) {
      socket.send(Buffer.from([255, 0]));
      socket.send(Buffer.from('\0too late'));
      assert.equal((await input).toString(), 'sense');
      assert.ok(!command.signal.aborted);
    }
    socket.close();
    assert.equal((await input).toString(), 'sense');
  }
});

test('a message that is too long, and bytes that are no WebSocket, end the connection', async () => {
  const long = await meet();
  long.socket.send(Buffer.alloc(17 << 20));
  const [code] = (await once(long.socket, 'close')) as [number];
  assert.equal(code, 1009);
  await pollUntil('the end', () => long.command.signal.aborted, { timeoutMs: 5000 });
  const next = numbers(3);
  for (let round = 0; round < 30; round++) {
    const { socket, command } = await meet();
    // Below the library: the stream of bytes itself.
    const raw = (socket as unknown as { _socket: import('node:stream').Duplex })._socket;
    const bytes = randomBytes(2 + next(200));
    // Reserved bits or an unknown kind.
    bytes[0] = 0x70 | bytes[0]!;
    raw.write(bytes);
    await pollUntil('the end', () => command.signal.aborted, { timeoutMs: 5000 });
  }
});

test('input that nobody reads is held back at the client', async () => {
  const { socket, command } = await meet();
  for (let i = 0; i < 200; i++) socket.send(Buffer.alloc(100_000));
  await pollUntil('a full stream', () => command.stdin!.readableLength >= 1 << 20, { timeoutMs: 5000 });
  await pollUntil('the client to wait', () => socket.bufferedAmount > 1 << 20, { timeoutMs: 5000 });
  assert.ok(command.stdin!.readableLength < 2 << 20);
  let read = 0;
  command.stdin!.on('data', (part: Buffer) => {
    read += part.length;
  });
  await pollUntil('all of it', () => read === 200 * 99_999, { timeoutMs: 10_000 });
  socket.close();
});

test('a client that goes while its input is held back is noticed by the next heartbeat', async () => {
  const { socket, command } = await meet();
  for (let i = 0; i < 200; i++) socket.send(Buffer.alloc(100_000));
  await pollUntil('a full stream', () => command.stdin!.readableLength >= 1 << 20, { timeoutMs: 5000 });
  socket.terminate();
  await pollUntil(
    'the end',
    async () => {
      await clock.advance(5_000);
      return command.signal.aborted;
    },
    { timeoutMs: 5000 },
  );
});

test('idle connections are closed, in both dialects; heartbeats do not count, data and pings of the client do', async () => {
  const client = new HttpClient({ baseUrl: `http://${url}` });
  const command = new Promise<RemoteCommand>((resolve) => arrived.push(resolve));
  const spdy = await openRemoteCommand({ client, path: '/' }, { stdin: true, stdout: true, stderr: false, tty: false });
  const web = await meet();
  const sides = [await command, web.command];
  const heard = sides.map(() => 0);
  sides.forEach(({ stdin }, index) => {
    stdin!.on('data', (part: Buffer) => {
      heard[index]! += part.length;
    });
  });
  for (let i = 1; i <= 3; i++) {
    await clock.advance(40_000);
    spdy.stdin!.write('x');
    web.socket.send(Buffer.from('\0x'));
    await pollUntil('the input', () => heard.every((one) => one === i), { timeoutMs: 5000 });
  }
  assert.ok(sides.every(({ signal }) => !signal.aborted));
  for (let i = 0; i < 14; i++) await clock.advance(5_000);
  await pollUntil('the end', () => sides.every(({ signal }) => signal.aborted), { timeoutMs: 5000 });
  client.close();
});
