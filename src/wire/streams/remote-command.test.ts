import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { buffer, text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { createHttpServer, HttpClient } from '../http/index.ts';
import type { ExitStatus } from './exit-status.ts';
import { type RemoteCommand, serveRemoteCommand } from './remote-command.ts';
import { SpdySession } from './spdy/index.ts';
import { dialSpdy, openRemoteCommand } from './stream-client.ts';
import { translateRemoteCommand } from './translate-upgrade.ts';

/** What the server does with a command; by path. */
const commands: Record<string, (command: RemoteCommand) => Promise<ExitStatus>> = {
  '/cat': async (command) => {
    for await (const chunk of command.stdin!) if (!command.stdout!.write(chunk)) await once(command.stdout!, 'drain');
    return { code: 0 };
  },
  '/both': async ({ stdout, stderr }) => {
    stdout!.write('out');
    stderr!.write('err');
    return { code: 3 };
  },
  '/fail': async () => ({ error: 'no such container' }),
  '/size': async (command) => {
    const size = await new Promise((resolve) => command.onResize(resolve));
    command.stdout!.write(JSON.stringify(size));
    return { code: 0 };
  },
  '/wait': async (command) => {
    await once(command.signal, 'abort');
    gone.resolve();
    return { code: 0 };
  },
};
const gone = Promise.withResolvers<void>();

const server = createHttpServer({
  handler: (_request, response) => void response.end(),
  upgrade: (request, socket, head) => void serve(request, socket, head),
});
const serve = async (
  ...[request, socket, head]: Parameters<NonNullable<Parameters<typeof createHttpServer>[0]['upgrade']>>
) => {
  const { pathname, searchParams } = new URL(request.url!, 'http://localhost');
  const options = {
    stdin: searchParams.has('stdin'),
    stdout: true,
    stderr: searchParams.has('stderr'),
    tty: searchParams.has('tty'),
    setupTimeoutMs: 200,
  };
  if (pathname.startsWith('/translate')) {
    const target = { client, path: request.url!.replace('/translate', '') };
    return translateRemoteCommand(request, socket, head, target, options);
  }
  const command = await serveRemoteCommand(request, socket, head, options);
  if (command) await command.exit(await commands[pathname]!(command));
};
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

test('SPDY: input comes back whole, and the exit code with it', async () => {
  const remote = await openRemoteCommand(
    { client, path: '/cat?stdin' },
    { stdin: true, stdout: true, stderr: false, tty: false },
  );
  const bytes = randomBytes(2_000_000);
  remote.stdin!.end(bytes);
  assert.ok(bytes.equals(await buffer(remote.stdout!)));
  assert.deepEqual(await remote.status, { code: 0 });
});

test('SPDY: outputs apart, exit codes, errors, sizes', async () => {
  const both = await openRemoteCommand(
    { client, path: '/both?stderr' },
    { stdin: false, stdout: true, stderr: true, tty: false },
  );
  assert.deepEqual(await Promise.all([text(both.stdout!), text(both.stderr!), both.status]), [
    'out',
    'err',
    { code: 3 },
  ]);
  const fail = await openRemoteCommand(
    { client, path: '/fail' },
    { stdin: false, stdout: true, stderr: false, tty: false },
  );
  assert.deepEqual(await fail.status, { error: 'no such container' });
  const size = await openRemoteCommand(
    { client, path: '/size?tty&stdin' },
    { stdin: true, stdout: true, stderr: false, tty: true },
  );
  size.resize({ width: 100, height: 30 });
  assert.equal(await text(size.stdout!), '{"width":100,"height":30}');
});

test('SPDY: a client that goes is noticed; one that opens too few streams is dropped; unknown versions are refused', async () => {
  const remote = await openRemoteCommand(
    { client, path: '/wait' },
    { stdin: false, stdout: true, stderr: false, tty: false },
  );
  remote.close();
  await gone.promise;
  const half = await openRemoteCommand(
    { client, path: '/cat?stdin' },
    { stdin: false, stdout: true, stderr: false, tty: false },
  );
  assert.match(((await half.status) as { error: string }).error, /connection was closed/);
  const headers = { connection: 'Upgrade', upgrade: 'SPDY/3.1', 'x-stream-protocol-version': 'v9.channel.k8s.io' };
  const refused = await client.upgrade({ method: 'POST', path: '/cat', headers });
  assert.ok('refused' in refused);
  assert.equal(refused.refused.statusCode, 403);
  refused.refused.resume();
});

/** Collects the messages of a WebSocket by channel until it closes. */
async function collect(socket: WebSocket, base64 = false): Promise<Record<number, string>> {
  const found: Record<number, string> = {};
  socket.on('message', (data: Buffer) => {
    const channel = base64 ? data[0]! - 48 : data[0]!;
    const content = base64 ? Buffer.from(data.toString().slice(1), 'base64') : data.subarray(1);
    found[channel] = (found[channel] ?? '') + content.toString();
  });
  await once(socket, 'close');
  return found;
}

test('WebSocket v5: input can be ended alone, at the server and translated to SPDY', async () => {
  for (const prefix of ['', '/translate']) {
    const socket = new WebSocket(`ws://${url}${prefix}/cat?stdin`, ['v5.channel.k8s.io']);
    const collected = collect(socket);
    await once(socket, 'open');
    assert.equal(socket.protocol, 'v5.channel.k8s.io');
    socket.send(Buffer.from('\x00hello'));
    socket.send(Buffer.from([255, 0]));
    const found = await collected;
    assert.equal(found[1], 'hello');
    assert.equal(JSON.parse(found[3]!).status, 'Success');
  }
});

test('WebSocket v4, base64 and bare dialects; refusals', async () => {
  const v4 = await collect(new WebSocket(`ws://${url}/both?stderr`, ['v9', 'v4.channel.k8s.io']));
  assert.equal(v4[1], 'out');
  assert.equal(v4[2], 'err');
  assert.deepEqual(JSON.parse(v4[3]!).details.causes, [{ reason: 'ExitCode', message: '3' }]);
  const base64 = await collect(new WebSocket(`ws://${url}/both?stderr`, ['v4.base64.channel.k8s.io']), true);
  assert.equal(base64[1], 'out');
  const bare = await collect(new WebSocket(`ws://${url}/fail`));
  assert.equal(bare[3], 'no such container');
  const translated = await collect(new WebSocket(`ws://${url}/translate/both?stderr`, ['v5.channel.k8s.io']));
  assert.deepEqual(
    [translated[1], translated[2], JSON.parse(translated[3]!).reason],
    ['out', 'err', 'NonZeroExitCode'],
  );
  const refused = new WebSocket(`ws://${url}/cat`, ['v9.channel.k8s.io']);
  const [error] = (await once(refused, 'error')) as [Error];
  assert.match(error.message, /403/);
});

test('WebSocket: sizes of the terminal come on a channel of their own', async () => {
  const socket = new WebSocket(`ws://${url}/size?tty`, ['v5.channel.k8s.io']);
  const collected = collect(socket);
  await once(socket, 'open');
  socket.send(Buffer.from('\x04{"Width":0}'));
  socket.send(Buffer.from('\x04{"Width":80,"Height":24}'));
  assert.equal((await collected)[1], '{"width":80,"height":24}');
});

test('SPDY: the older versions, and clients that name none, hear how it ended as a text', async () => {
  for (const version of ['v3.channel.k8s.io', 'v2.channel.k8s.io', 'channel.k8s.io', '']) {
    const { socket, head } = await dialSpdy({ client, path: '/both?stderr' }, version ? [version] : []);
    const session = new SpdySession(socket, { role: 'client' }, head);
    const [error, stdout, stderr] = ['error', 'stdout', 'stderr'].map((name) =>
      session.open({ streamtype: name }, { finished: true }),
    );
    assert.deepEqual(
      await Promise.all([text(stdout!), text(stderr!), text(error!)]),
      ['out', 'err', 'command terminated with non-zero exit code: exit status 3'],
      version,
    );
    session.close();
  }
});
