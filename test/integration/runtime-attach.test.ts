import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { ContainerState } from '../../src/api/cri/index.ts';
import { pollUntil } from '../../src/async/index.ts';
import { HttpClient } from '../../src/wire/http/index.ts';
import { openRemoteCommand, type RemoteProcess } from '../../src/wire/streams/index.ts';
import { processesWith, type TestContainer, TestRuntime } from '../support/test-runtime.ts';

let runtime: TestRuntime;
let http: HttpClient;
const timeoutMs = 10_000;

before(async () => {
  runtime = await TestRuntime.create('attach');
  http = new HttpClient({ baseUrl: 'http://127.0.0.1' });
});
after(async () => {
  http?.close();
  await runtime?.[Symbol.asyncDispose]();
});

async function attach({ containerId }: TestContainer, options: { stdin?: boolean; tty?: boolean } = {}) {
  const { stdin = false, tty = false } = options;
  const request = { containerId, stdin, tty, stdout: true, stderr: !tty };
  const { url } = await runtime.cri.attach(request);
  return openRemoteCommand({ client: http, path: url }, { stdin, tty, stdout: true, stderr: !tty });
}

/** Collects what a client hears. */
function hear({ stdout }: RemoteProcess): { text: string } {
  const heard = { text: '' };
  stdout!.on('data', (part: Buffer) => {
    heard.text += part.toString();
  });
  return heard;
}

const isRunning = async ({ containerId }: TestContainer): Promise<boolean> =>
  (await runtime.cri.containerStatus({ containerId })).status!.state === ContainerState.CONTAINER_RUNNING;

test('attach with input once: the end of the input is the end of the shell, and its output is exact', async () => {
  const shell = await runtime.run(['sh'], { stdin: true, stdinOnce: true });
  const looker = await attach(shell);
  const heard = hear(looker);
  // A client without input comes and goes: the input stays open.
  const passer = await attach(shell);
  passer.close();
  await passer.status;
  const client = await attach(shell, { stdin: true });
  client.stdin!.end('echo hello; echo oops >&2\n');
  const [stdout, stderr, status] = await Promise.all([text(client.stdout!), text(client.stderr!), client.status]);
  assert.deepEqual([stdout, stderr, status], ['hello\n', 'oops\n', { code: 0 }]);
  assert.deepEqual(await looker.status, { code: 0 });
  assert.equal(heard.text, 'hello\n');
  await pollUntil('the end', async () => !(await isRunning(shell)), { timeoutMs });
  await assert.rejects(attach(shell), /is not running/);
  await runtime.remove(shell);
});

test('attach with lasting input: clients come and go, two at once', async () => {
  const cat = await runtime.run(['cat'], { stdin: true });
  const one = await attach(cat, { stdin: true });
  const other = await attach(cat, { stdin: true });
  const [heardByOne, heardByOther] = [hear(one), hear(other)];
  one.stdin!.end('first\n');
  await pollUntil('both hear', () => heardByOne.text === 'first\n' && heardByOther.text === 'first\n', { timeoutMs });
  one.close();
  other.stdin!.write('second\n');
  await pollUntil('the other hears', () => heardByOther.text === 'first\nsecond\n', { timeoutMs });
  other.close();
  const third = await attach(cat, { stdin: true });
  const heard = hear(third);
  third.stdin!.write('third\n');
  await pollUntil('the third hears', () => heard.text === 'third\n', { timeoutMs });
  third.close();
  assert.ok(await isRunning(cat));
  await runtime.remove(cat);
});

test('forty clients at once hear the same', async () => {
  const cat = await runtime.run(['cat'], { stdin: true });
  const clients = await Promise.all(Array.from({ length: 40 }, () => attach(cat, { stdin: true })));
  const heard = clients.map(hear);
  const all = (text: string) =>
    pollUntil(`all to hear ${text}`, () => heard.every((one) => one.text.includes(text)), { timeoutMs });
  await pollUntil(
    'the first to hear',
    () => {
      clients[0]!.stdin!.write('again\n');
      return heard.every(({ text }) => text.includes('again'));
    },
    { timeoutMs, intervalMs: 20 },
  );
  clients[39]!.stdin!.write('last\n');
  await all('last\n');
  const before = runtime.descriptors().length;
  for (const client of clients) client.close();
  await pollUntil('the connections to go', () => runtime.descriptors().length <= before - 80, { timeoutMs });
  await runtime.remove(cat);
});

test('megabytes of input arrive whole', async () => {
  const sum = await runtime.run(['wc', '-c'], { stdin: true, stdinOnce: true });
  const client = await attach(sum, { stdin: true });
  client.stdin!.end(Buffer.alloc(20_000_001, 'x'));
  assert.equal(await text(client.stdout!), '20000001\n');
  await runtime.remove(sum);
});

test('input for a container that takes none is no error', async () => {
  const echo = await runtime.run(['sh', '-c', 'sleep 0.3; echo done; sleep 1000']);
  const client = await attach(echo, { stdin: true });
  const heard = hear(client);
  client.stdin!.end(Buffer.alloc(1_000_000));
  await pollUntil('the output', () => heard.text === 'done\n', { timeoutMs });
  client.close();
  await runtime.remove(echo);
});

test('attach to a terminal: size, echo, keys', async () => {
  const shell = await runtime.run(['sh'], { stdin: true, tty: true });
  const client = await attach(shell, { stdin: true, tty: true });
  const heard = hear(client);
  client.resize({ width: 93, height: 27 });
  await pollUntil(
    'the size',
    () => {
      client.stdin!.write('stty size\n');
      return heard.text.includes('27 93\r\n');
    },
    { timeoutMs, intervalMs: 50 },
  );
  client.stdin!.write('sleep 78001\n');
  await pollUntil('the command', () => processesWith('sleep 78001').length > 0, { timeoutMs });
  client.stdin!.write('\x03');
  client.stdin!.write('echo in$((1+1))terrupted\n');
  await pollUntil('the key', () => heard.text.includes('in2terrupted'), { timeoutMs });
  // Clients have keys to let go, which end the input.
  client.stdin!.end();
  assert.deepEqual(await client.status, { code: 0 });
  assert.ok(await isRunning(shell));
  const again = await attach(shell, { stdin: true, tty: true });
  again.stdin!.write('exit 3\n');
  assert.deepEqual(await again.status, { code: 0 });
  await pollUntil('the end', async () => !(await isRunning(shell)), { timeoutMs });
  assert.equal((await runtime.cri.containerStatus({ containerId: shell.containerId })).status!.exitCode, 3);
  await runtime.remove(shell);
});

test('a client that does not read holds up nobody and is dropped', async () => {
  const script =
    'i=0; while :; do i=$((i+1)); echo $i xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done';
  const writer = await runtime.run(['sh', '-c', `head -c 1 >/dev/null; ${script}`], { stdin: true });
  const { url } = await runtime.cri.attach({ containerId: writer.containerId, stdout: true, stderr: true });
  const slow = new WebSocket(url.replace('http:', 'ws:'), ['v4.channel.k8s.io']);
  await once(slow, 'open');
  slow.pause();
  const good = await attach(writer, { stdin: true });
  const before = runtime.memory();
  let lines = 0;
  let rest = '';
  good.stdout!.on('data', (part: Buffer) => {
    const parts = (rest + part.toString()).split('\n');
    rest = parts.pop()!;
    for (const line of parts) assert.equal(line.split(' ')[0], String(++lines));
  });
  good.stdin!.write('x');
  await pollUntil('megabytes', () => lines > 500_000, { timeoutMs: 30_000 });
  assert.ok(runtime.memory() < before + (80 << 20), `from ${before} to ${runtime.memory()} bytes`);
  const closed = once(slow, 'close');
  slow.resume();
  await closed;
  assert.ok(await isRunning(writer));
  assert.match(readFileSync(writer.log, 'utf8').slice(-2000), /xxx/);
  await runtime.remove(writer);
});

test('after a kill -9 of the runtime the container goes on, and clients attach again', async () => {
  const cat = await runtime.run(['cat'], { stdin: true });
  const lost = await attach(cat, { stdin: true });
  const heardBefore = hear(lost);
  lost.stdin!.write('one\n');
  await pollUntil('the echo', () => heardBefore.text === 'one\n', { timeoutMs });
  await runtime.end('SIGKILL');
  assert.match(JSON.stringify(await lost.status), /connection was closed/);
  await runtime.start();
  const again = await pollUntil('the new runtime', () => attach(cat, { stdin: true }).catch(() => undefined), {
    timeoutMs,
  });
  const heard = hear(again);
  again.stdin!.write('two\n');
  await pollUntil('the echo', () => heard.text === 'two\n', { timeoutMs });
  again.close();
  await runtime.remove(cat);
});
