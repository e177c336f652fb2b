import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { pollUntil, systemClock } from '../../src/async/index.ts';
import { HttpClient } from '../../src/wire/http/index.ts';
import { openRemoteCommand, type RemoteProcess } from '../../src/wire/streams/index.ts';
import { processesWith, type TestContainer, TestRuntime } from '../support/test-runtime.ts';

let runtime: TestRuntime;
let main: TestContainer;
let http: HttpClient;
const timeoutMs = 10_000;

before(async () => {
  runtime = await TestRuntime.create('streams');
  http = new HttpClient({ baseUrl: 'http://127.0.0.1' });
  main = await runtime.run(['sleep', '100000'], {
    envs: [{ key: 'PLACE', value: Buffer.from('here') }],
    workingDir: '/tmp',
  });
});
after(async () => {
  http?.close();
  await runtime?.[Symbol.asyncDispose]();
});

interface ExecOptions {
  stdin?: boolean;
  tty?: boolean;
  containerId?: string;
}

async function execUrl(cmd: string[], { stdin = false, tty = false, containerId }: ExecOptions = {}): Promise<string> {
  const request = { containerId: containerId ?? main.containerId, cmd, stdin, tty, stdout: true, stderr: !tty };
  return (await runtime.cri.exec(request)).url;
}

async function exec(cmd: string[], options: ExecOptions = {}): Promise<RemoteProcess> {
  const { stdin = false, tty = false } = options;
  const path = await execUrl(cmd, options);
  return openRemoteCommand({ client: http, path }, { stdin, tty, stdout: true, stderr: !tty });
}

/** Runs a command to its end. */
async function said(cmd: string[], options: ExecOptions = {}, input?: string) {
  const process = await exec(cmd, { ...options, stdin: input !== undefined });
  if (input !== undefined) process.stdin!.end(input);
  const [stdout, stderr, status] = await Promise.all([
    text(process.stdout!),
    process.stderr ? text(process.stderr) : '',
    process.status,
  ]);
  return { stdout, stderr, status };
}

/** Messages of a WebSocket by channel, until it closes. */
async function channelsOf(socket: WebSocket, base64: boolean): Promise<Record<number, string>> {
  const found: Record<number, string> = {};
  socket.on('message', (data: Buffer) => {
    const channel = base64 ? data[0]! - 48 : data[0]!;
    found[channel] =
      (found[channel] ?? '') +
      (base64 ? Buffer.from(data.toString('latin1', 1), 'base64') : data.subarray(1)).toString();
  });
  await once(socket, 'close');
  return found;
}

test('exec in every dialect: outputs apart, input to its end, exit code', async () => {
  const script = 'cat; echo oops >&2; exit 7';
  assert.deepEqual(await said(['sh', '-c', script], {}, 'hello'), {
    stdout: 'hello',
    stderr: 'oops\n',
    status: { code: 7 },
  });
  for (const protocol of ['v5', 'v4', 'v4.base64', '', 'base64']) {
    const name = [protocol, 'channel.k8s.io'].filter(Boolean).join('.');
    const base64 = protocol.includes('base64');
    const command = protocol === 'v5' ? script : script.replace('cat', 'head -c5');
    const url = (await execUrl(['sh', '-c', command], { stdin: true })).replace('http:', 'ws:');
    const socket = new WebSocket(url, [name]);
    const collected = channelsOf(socket, base64);
    await once(socket, 'open');
    socket.send(base64 ? `0${Buffer.from('hello').toString('base64')}` : Buffer.from('\0hello'));
    if (protocol === 'v5') socket.send(Buffer.from([255, 0]));
    const found = await collected;
    assert.deepEqual([found[1], found[2]], ['hello', 'oops\n'], name);
    if (/^v/.test(protocol)) assert.equal(JSON.parse(found[3]!).details.causes[0].message, '7');
    else assert.match(found[3]!, /exit status 7/);
  }
});

test('a command that is not there ends as in a shell, with the words that users know', async () => {
  const missing = await said(['no-such-program']);
  assert.match(
    missing.stderr,
    /OCI runtime exec failed.* exec: "no-such-program": executable file not found in \$PATH/,
  );
  assert.deepEqual([missing.stdout, missing.status], ['', { code: 127 }]);
  assert.deepEqual((await said(['/etc/passwd'])).status, { code: 126 });
  const onTerminal = await said(['no-such-program'], { tty: true });
  assert.match(onTerminal.stdout, /executable file not found in \$PATH/);
  assert.deepEqual(onTerminal.status, { code: 127 });
});

test('a command has all of the container: user, environment, directory, capabilities, limits', async () => {
  const securityContext = {
    runAsUser: { value: 1000n },
    runAsGroup: { value: 1001n },
    supplementalGroups: [2000n],
    noNewPrivs: true,
    capabilities: { addCapabilities: ['NET_ADMIN'], dropCapabilities: ['CHOWN'] },
    seccomp: { profileType: 0 },
    namespaceOptions: { pid: 1 },
  };
  const other = await runtime.run(
    ['sh', '-c', 'cat /proc/self/status /proc/self/limits >/dev/stderr; exec sleep 1000'],
    {
      linux: { securityContext },
      envs: [{ key: 'PLACE', value: Buffer.from('there') }],
      workingDir: '/tmp',
    },
  );
  const show =
    'id -u; id -g; id -G; pwd; echo $PLACE; cat /proc/self/limits; grep -E "^(Cap|NoNew|Seccomp:|Groups)" /proc/self/status';
  const { stdout } = await said(['sh', '-c', show], { containerId: other.containerId });
  const first = await said(['sh', '-c', 'cat /proc/1/limits; grep -E "^(Cap|NoNew|Seccomp:|Groups)" /proc/1/status'], {
    containerId: other.containerId,
  });
  assert.deepEqual(stdout.split('\n').slice(0, 5), ['1000', '1001', '1001 2000', '/tmp', 'there']);
  assert.equal(stdout.split('\n').slice(5).join('\n'), first.stdout);
  await runtime.remove(other);
});

test('a terminal: its kind, its size now and later, and nothing echoed twice', async () => {
  // On a busy machine the first size may come after the command has begun.
  const waitFor = (size: string) =>
    `until [ "$(stty size 2>/dev/null)" = "${size}" ]; do sleep 0.01; done; echo ${size};`;
  const script = `echo $TERM; ${waitFor('31 101')} read line; ${waitFor('22 55')} echo "got $line"`;
  const shell = await exec(['sh', '-c', script], { stdin: true, tty: true });
  shell.resize({ width: 101, height: 31 });
  let output = '';
  shell.stdout!.on('data', (part: Buffer) => {
    output += part.toString();
  });
  await pollUntil('the size', () => /xterm\r\n31 101\r\n/.test(output), { timeoutMs });
  shell.resize({ width: 55, height: 22 });
  shell.stdin!.write('hello\n');
  assert.deepEqual(await shell.status, { code: 0 });
  assert.equal(output, 'xterm\r\n31 101\r\nhello\r\n22 55\r\ngot hello\r\n');
  // Programs that draw on the whole screen go by what their terminal does with line ends.
  assert.match((await said(['stty', '-a'], { tty: true })).stdout, /[^-]onlcr/);
  const early = await exec(['sh', '-c', 'read line; echo "got $line"'], { stdin: true, tty: true });
  early.stdin!.write('early\n');
  assert.equal(await text(early.stdout!), 'early\r\ngot early\r\n');
  const many = await said(['seq', '1', '20000'], { tty: true });
  assert.equal(many.stdout, Array.from({ length: 20_000 }, (_, index) => `${index + 1}\r\n`).join(''));
});

test('half a gigabyte through a command, both ways, and a client that does not read', async () => {
  const before = runtime.memory();
  const size = 500 << 20;
  const piece = Buffer.alloc(1 << 20);
  const counting = await exec(['sh', '-c', 'wc -c; head -c 104857600 /dev/zero'], { stdin: true });
  for (let sent = 0; sent < size; sent += piece.length)
    if (!counting.stdin!.write(piece)) await once(counting.stdin!, 'drain');
  counting.stdin!.end();
  let received = 0;
  let first = '';
  for await (const part of counting.stdout!) {
    if (received === 0) first = String(part).split('\n')[0]!;
    received += (part as Buffer).length;
  }
  assert.equal(first, String(size));
  assert.equal(received, 104_857_600 + first.length + 1);
  const endless = await exec(['yes', 'unread']);
  await once(endless.stdout!, 'readable');
  assert.equal((await said(['echo', 'others'])).stdout, 'others\n');
  assert.ok(runtime.memory() < before + (100 << 20), `from ${before} to ${runtime.memory()} bytes`);
  endless.close();
  await pollUntil('the end of the command', () => processesWith('yes unread').length === 0, { timeoutMs });
});

test('a slow client gets all of it, also what was written right before the end', async () => {
  const wanted = Array.from({ length: 100_000 }, (_, index) => `${index + 1}\n`).join('');
  for (const tty of [false, true]) {
    const counting = await exec(['seq', '1', '100000'], { tty });
    let got = '';
    for await (const part of counting.stdout!) {
      got += String(part);
      if (got.length < 100_000) await systemClock.sleep(20);
    }
    assert.ok((tty ? got.replaceAll('\r\n', '\n') : got) === wanted, `${got.length} of ${wanted.length}`);
    assert.deepEqual(await counting.status, { code: 0 });
  }
});

test('input that the command does not take stops nothing else, and the client can go', async () => {
  for (const tty of [false, true]) {
    const deaf = await exec(['sleep', '77001'], { stdin: true, tty });
    for (let i = 0; i < 64; i++) deaf.stdin!.write(Buffer.alloc(65_536, 'x'));
    await pollUntil('the command', () => processesWith('sleep 77001').length > 0, { timeoutMs });
    assert.equal((await said(['echo', 'on'])).stdout, 'on\n');
    deaf.close();
    await pollUntil('the end of the command', () => processesWith('sleep 77001').length === 0, { timeoutMs });
  }
});

test('a command ends with its client, and takes its children along, whatever they did to their sessions', async () => {
  const script = 'setsid sleep 77002 & (setsid sh -c "sleep 77003 & sleep 77004") & sleep 77005';
  const all = ['sleep 77002', 'sleep 77003', 'sleep 77004', 'sleep 77005'];
  const running = () => all.filter((one) => processesWith(one).length > 0);
  const commands = [await exec(['sh', '-c', script]), await exec(['sh', '-c', script], { tty: true })];
  await pollUntil('all processes', () => all.every((one) => processesWith(one).length >= 2), { timeoutMs });
  for (const command of commands) command.close();
  await pollUntil('the end of all', () => running().length === 0, { timeoutMs });
  await assert.rejects(
    runtime.cri.execSync({ containerId: main.containerId, cmd: ['sh', '-c', script], timeout: 1n }),
    {
      code: 'DEADLINE_EXCEEDED',
    },
  );
  assert.deepEqual(running(), []);
  // A client that goes while the command is being started.
  for (let i = 0; i < 5; i++) (await exec(['sleep', '77005'])).close();
  assert.equal((await said(['true'])).status && true, true);
  await pollUntil('the end of all', () => running().length === 0 && execFiles(main).length === 0, { timeoutMs });
});

/** What the runtime keeps of commands: files beside the container, groups in its cgroup. */
function execFiles({ containerId, podSandboxId }: TestContainer): string[] {
  const tree = existsSync('/sys/fs/cgroup/pids') ? '/sys/fs/cgroup/pids' : '/sys/fs/cgroup';
  const cgroup = join(tree, runtime.cgroupParent, podSandboxId, containerId);
  const names = [join(runtime.base, 'state/containers', containerId), cgroup].flatMap((path) => readdirSync(path));
  return names.filter((name) => name.startsWith('deckhand-exec-'));
}

test('what a command leaves running goes on as part of the container; nothing else is left', async () => {
  assert.deepEqual(await said(['sh', '-c', 'sleep 77010 >/dev/null 2>&1 & echo started']), {
    stdout: 'started\n',
    stderr: '',
    status: { code: 0 },
  });
  assert.equal(processesWith('sleep 77010').length, 1);
  await pollUntil('the files to go', () => execFiles(main).length === 0, { timeoutMs });
  const [pid] = processesWith('sleep 77010');
  assert.match(readFileSync(`/proc/${pid}/cgroup`, 'utf8'), new RegExp(`(pids|^0:):.*${main.containerId}$`, 'm'));
  process.kill(pid!, 'SIGKILL');
});

test('a container that ends takes its commands along; one that does not run takes none', async () => {
  const other = await runtime.run(['sleep', '1000']);
  const [piped, onTerminal] = [
    await exec(['sleep', '77011'], { containerId: other.containerId }),
    await exec(['sleep', '77011'], { containerId: other.containerId, tty: true }),
  ];
  const late = await execUrl(['true'], other);
  await pollUntil('the commands', () => processesWith('sleep 77011').length >= 2, { timeoutMs });
  await runtime.cri.stopContainer({ containerId: other.containerId, timeout: 0n });
  assert.deepEqual([await piped.status, await onTerminal.status], [{ code: 137 }, { code: 137 }]);
  const remote = await openRemoteCommand(
    { client: http, path: late },
    { stdin: false, tty: false, stdout: true, stderr: true },
  );
  assert.match(JSON.stringify(await remote.status), /is in CONTAINER_EXITED state/);
  await assert.rejects(exec(['true'], { containerId: other.containerId }), { code: 'FAILED_PRECONDITION' });
  await assert.rejects(runtime.cri.execSync({ containerId: other.containerId, cmd: ['true'], timeout: 5n }), {
    code: 'FAILED_PRECONDITION',
  });
  await assert.rejects(exec(['true'], { containerId: 'none' }), { code: 'NOT_FOUND' });
  await assert.rejects(exec([]), { code: 'INVALID_ARGUMENT' });
  await runtime.remove(other);
});

test('a command whose OCI runtime was killed ends with an error, and does not go on alone', async () => {
  const { containerId } = main;
  const commands = [await exec(['sleep', '77020']), await exec(['sleep', '77020'], { tty: true })];
  const call = runtime.cri.execSync({ containerId, cmd: ['sleep', '77020'], timeout: 0n });
  const rejected = assert.rejects(call, /the OCI runtime's process was ended by SIGKILL/);
  await pollUntil('the commands', () => processesWith('sleep 77020').length >= 3, { timeoutMs });
  // On a terminal it is a monitor that waits for the command.
  const bundle = join(runtime.base, 'state/containers', containerId);
  for (const pid of processesWith(join(bundle, 'deckhand-exec-'))) process.kill(pid, 'SIGKILL');
  for (const { status } of commands) assert.match(JSON.stringify(await status), /process was ended by/);
  await rejected;
  await pollUntil('the end of all', () => processesWith('sleep 77020').length === 0, { timeoutMs });
});

test('execSync: both outputs as long as an answer can be, limits of time, no growth', async () => {
  const { containerId } = main;
  const long = await runtime.cri.execSync({
    containerId,
    cmd: ['sh', '-c', 'yes o | head -c 20000000; yes e | head -c 20000000 >&2; exit 9'],
    timeout: 30n,
  });
  assert.equal(long.exitCode, 9);
  assert.ok(long.stdout.length > 8_000_000 && long.stderr.length > 8_000_000);
  assert.ok(long.stdout.length + long.stderr.length < 16 << 20);
  await assert.rejects(runtime.cri.execSync({ containerId, cmd: ['true'], timeout: -1n }), {
    code: 'INVALID_ARGUMENT',
  });
  // A child that holds the output keeps the call, until its time is up.
  const holding = runtime.cri.execSync({ containerId, cmd: ['sh', '-c', 'setsid sleep 77012 &'], timeout: 1n });
  await assert.rejects(holding, { code: 'DEADLINE_EXCEEDED' });
  assert.deepEqual(processesWith('sleep 77012'), []);
  const controller = new AbortController();
  const given = runtime.cri.execSync(
    { containerId, cmd: ['sleep', '77013'], timeout: 0n },
    { signal: controller.signal },
  );
  await pollUntil('the command', () => processesWith('sleep 77013').length > 0, { timeoutMs });
  controller.abort();
  await assert.rejects(given);
  await pollUntil('the end of the command', () => processesWith('sleep 77013').length === 0, { timeoutMs });
});

test('a hundred commands at once, and nothing of them afterwards', async () => {
  await said(['true']);
  const before = runtime.descriptors().length;
  const statuses = await Promise.all(
    Array.from({ length: 100 }, async (_, index) => (await said(['sh', '-c', `cat; exit ${index}`], {}, 'x')).status),
  );
  assert.deepEqual(
    statuses,
    Array.from({ length: 100 }, (_, code) => ({ code })),
  );
  await pollUntil('the files to go', () => execFiles(main).length === 0, { timeoutMs });
  await pollUntil('the descriptors to go', () => runtime.descriptors().length <= before + 2, { timeoutMs });
  assert.deepEqual(processesWith(`--root=${join(runtime.base, 'state/oci')} exec`), []);
});

test('addresses work once, for what they are for, and refuse other clients', async () => {
  const url = await execUrl(['true']);
  assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/exec\/[\w-]+$/);
  const plain = await http.request({ path: url });
  assert.equal(plain.status, 400);
  const first = await openRemoteCommand(
    { client: http, path: url },
    { stdin: false, tty: false, stdout: true, stderr: true },
  );
  assert.deepEqual(await first.status, { code: 0 });
  for (const path of [url, url.replace('/exec/', '/attach/'), `${url}x`])
    await assert.rejects(
      openRemoteCommand({ client: http, path }, { stdin: false, tty: false, stdout: true, stderr: true }),
      /no such address/,
    );
});

test('after a kill -9 of the runtime its commands are ended, and their files are gone', async () => {
  const commands = [
    await exec(['sh', '-c', 'setsid sleep 77014 & sleep 77014']),
    await exec(['sh', '-c', 'sleep 77014 & sleep 77014'], { tty: true }),
  ];
  await pollUntil('the commands', () => processesWith('sleep 77014').length >= 4, { timeoutMs });
  await runtime.end('SIGKILL');
  for (const { status } of commands) assert.match(JSON.stringify(await status), /connection was closed/);
  await runtime.start();
  await pollUntil('the new runtime', async () => (await said(['true'])).status, { timeoutMs });
  assert.deepEqual(processesWith('sleep 77014'), []);
  await pollUntil('the files to go', () => execFiles(main).length === 0, { timeoutMs });
  const last = await exec(['sleep', '77015']);
  const call = runtime.cri.execSync({ containerId: main.containerId, cmd: ['sleep', '77015'], timeout: 0n });
  call.catch(() => {});
  // Each has a process of the OCI runtime beside it; its command line does not show the command.
  await pollUntil('the commands', () => processesWith('sleep 77015').length >= 2, { timeoutMs });
  await runtime.end('SIGTERM');
  assert.deepEqual(processesWith('sleep 77015'), []);
  assert.match(JSON.stringify(await last.status), /closed/);
  await assert.rejects(call);
  await runtime.start();
});
