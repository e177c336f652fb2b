import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { pollUntil } from '../../src/async/index.ts';
import { inNetworkNamespace } from '../../src/host/namespaces/index.ts';
import { HttpClient } from '../../src/wire/http/index.ts';
import { SpdySession } from '../../src/wire/streams/spdy/index.ts';
import { dialSpdy } from '../../src/wire/streams/stream-client.ts';
import { type TestContainer, TestRuntime } from '../support/test-runtime.ts';

let runtime: TestRuntime;
let pod: TestContainer;
let http: HttpClient;
const closers: (() => void)[] = [];
const timeoutMs = 10_000;
/** Ports of servers in the pod. */
const [echo, echo6, early, deaf, nothing] = [7001, 7002, 7003, 7004, 7005];
/** What `early` has heard, by connection. */
const heardLate: Promise<Buffer>[] = [];
const atEcho = new Set<Socket>();

/** Serves in the network namespace of the pod (of this process for `hostNetwork`). */
function serve(port: number, onConnection: (socket: Socket) => void, { ipv6Only = false, hostNetwork = false } = {}) {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    onConnection(socket);
  });
  const path = join(runtime.base, 'state/sandboxes', pod.podSandboxId, 'net');
  inNetworkNamespace(hostNetwork ? undefined : path, () => server.listen({ port, ipv6Only }));
  closers.push(() => server.close());
}

before(async () => {
  runtime = await TestRuntime.create('ports');
  http = new HttpClient({ baseUrl: 'http://127.0.0.1' });
  pod = await runtime.run(['sleep', '100000']);
  const echoing = (socket: Socket): void => {
    atEcho.add(socket);
    socket.on('close', () => atEcho.delete(socket));
    socket.pipe(socket);
  };
  serve(echo, echoing);
  serve(echo6, echoing, { ipv6Only: true });
  serve(early, (socket) => {
    socket.end('all that I say');
    heardLate.push(buffer(socket));
  });
  serve(deaf, (socket) => void socket.pause());
});
after(async () => {
  for (const close of closers) close();
  http?.close();
  await runtime?.[Symbol.asyncDispose]();
});

async function open({ podSandboxId }: TestContainer = pod): Promise<SpdySession> {
  const { url } = await runtime.cri.portForward({ podSandboxId });
  const { socket, head } = await dialSpdy({ client: http, path: url }, ['portforward.k8s.io']);
  return new SpdySession(socket, { role: 'client' }, head);
}

let requests = 0;

function connect(session: SpdySession, port: number) {
  const headers = { port: String(port), requestid: String(requests++) };
  const error = session.open({ streamtype: 'error', ...headers }, { finished: true });
  return { data: session.open({ streamtype: 'data', ...headers }), error };
}

test('fifty connections of one client and of several, each with its own bytes', async () => {
  const sessions = [await open(), await open(), await open()];
  await Promise.all(
    Array.from({ length: 50 }, async (_, index) => {
      const { data, error } = connect(sessions[index % 3]!, index % 2 ? echo : echo6);
      const bytes = Buffer.alloc(500_000 + index, `${index} `);
      data.end(bytes);
      const [back, message] = await Promise.all([buffer(data), text(error)]);
      assert.equal(message, '');
      assert.ok(bytes.equals(back));
    }),
  );
  for (const session of sessions) session.close();
});

test('a port on which nothing listens is told, and others go on', async () => {
  const session = await open();
  const [none, one] = [connect(session, nothing), connect(session, echo)];
  none.data.end('hello');
  one.data.end('hello');
  assert.match(
    await text(none.error),
    new RegExp(`^error forwarding port ${nothing}: .* inside sandbox "${pod.podSandboxId}": .*connection refused`),
  );
  assert.equal(await text(none.data), '');
  assert.equal(await text(one.data), 'hello');
  session.close();
});

test('either side may end first and still hear the other', async () => {
  const session = await open();
  const { data, error } = connect(session, early);
  let heard = '';
  data.on('data', (part: Buffer) => {
    heard += part.toString();
  });
  await once(data, 'end');
  assert.equal(heard, 'all that I say');
  const late = Buffer.alloc(3_000_000, 'late');
  data.end(late);
  assert.equal(await text(error), '');
  assert.ok(late.equals(await heardLate[0]!));
  // A client that only waits for the end of the error stream is not kept waiting.
  const silent = connect(session, early);
  silent.data.resume();
  assert.equal(await text(silent.error), '');
  session.close();
});

test('a port that takes nothing holds up no other, and costs no memory', async () => {
  const session = await open();
  const before = runtime.memory();
  const stuck = Array.from({ length: 5 }, () => connect(session, deaf));
  for (const { data } of stuck) data.write(Buffer.alloc(50_000_000));
  const { data } = connect(session, echo);
  data.end(Buffer.alloc(1_000_000));
  assert.equal((await buffer(data)).length, 1_000_000);
  assert.ok(runtime.memory() < before + (60 << 20), `from ${before} to ${runtime.memory()} bytes`);
  session.destroy();
});

test('a client that goes takes its connections along', async () => {
  await pollUntil('an idle server', () => atEcho.size === 0, { timeoutMs });
  const before = runtime.descriptors().length;
  const session = await open();
  const connections = Array.from({ length: 20 }, () => connect(session, echo));
  for (const { data } of connections) data.write('x');
  await Promise.all(connections.map(({ data }) => once(data, 'readable')));
  assert.equal(atEcho.size, 20);
  session.destroy();
  await pollUntil('the end of all', () => atEcho.size === 0, { timeoutMs });
  await pollUntil('the descriptors to go', () => runtime.descriptors().length <= before, { timeoutMs });
});

test('WebSocket channels carry a port too; a pod of the host has its ports', async () => {
  const { url } = await runtime.cri.portForward({ podSandboxId: pod.podSandboxId, port: [echo, nothing] });
  const socket = new WebSocket(url.replace('http:', 'ws:'), ['v4.channel.k8s.io']);
  const found: Record<number, string> = {};
  socket.on('message', (data: Buffer) => {
    found[data[0]!] = (found[data[0]!] ?? '') + data.toString('latin1', 1);
  });
  await once(socket, 'open');
  socket.send(Buffer.from('\0hello'));
  await pollUntil('the answers', () => found[0]?.endsWith('hello') && found[3]?.includes('refused'), { timeoutMs });
  socket.close();
  serve(7009, (one) => void one.end('of the host'), { hostNetwork: true });
  const host = await runtime.run(['sleep', '1000'], {}, { hostNetwork: true });
  const session = await open(host);
  assert.equal(await text(connect(session, 7009).data), 'of the host');
  session.close();
  await runtime.remove(host);
});

test('a pod that is stopped takes no connections', async () => {
  const other = await runtime.run(['sleep', '1000']);
  const session = await open(other);
  const { url } = await runtime.cri.portForward({ podSandboxId: other.podSandboxId });
  await runtime.cri.stopPodSandbox({ podSandboxId: other.podSandboxId });
  assert.match(await text(connect(session, echo).error), /is not running/);
  session.close();
  await assert.rejects(runtime.cri.portForward({ podSandboxId: other.podSandboxId }), { code: 'FAILED_PRECONDITION' });
  await runtime.remove(other);
  const gone = await dialSpdy({ client: http, path: url }, ['portforward.k8s.io']);
  const late = new SpdySession(gone.socket, { role: 'client' }, gone.head);
  assert.match(await text(connect(late, echo).error), /not found/);
  late.close();
});
