import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { ContainerState } from '../../src/api/cri/index.ts';
import { pollUntil } from '../../src/async/index.ts';
import { output } from '../support/processes.ts';
import { processesWith, type TestContainer, TestRuntime } from '../support/test-runtime.ts';

let runtime: TestRuntime;
const timeoutMs = 20_000;

before(async () => {
  runtime = await TestRuntime.create('logs');
});
after(async () => {
  await runtime?.[Symbol.asyncDispose]();
});

/** What was written on a stream, put together from a log in the CRI's format. @throws AssertionError for other lines */
function contents(log: Buffer, stream: 'stdout' | 'stderr' = 'stdout'): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < log.length; ) {
    const end = log.indexOf(0x0a, at);
    assert.ok(end >= 0, 'the last line has no end');
    const head = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([PF]) /.exec(
      log.toString('latin1', at, Math.min(end, at + 60)),
    );
    assert.ok(head, `no line of a log: ${log.toString('utf8', at, Math.min(end, at + 100))}`);
    if (head[2] === stream) parts.push(log.subarray(at + head[0].length, end));
    if (head[2] === stream && head[3] === 'F') parts.push(Buffer.from('\n'));
    at = end + 1;
  }
  return Buffer.concat(parts);
}

const hasEnded = async ({ containerId }: TestContainer): Promise<boolean> =>
  (await runtime.cri.containerStatus({ containerId })).status!.state === ContainerState.CONTAINER_EXITED;
const ended = (container: TestContainer) => pollUntil('the end', () => hasEnded(container), { timeoutMs });

async function logOf(command: string[], config: object = {}): Promise<Buffer> {
  const container = await runtime.run(command, config);
  await ended(container);
  const log = await readFile(container.log);
  await runtime.remove(container);
  return log;
}

test('lines as they were written: both streams, parts of lines, bytes of any kind, a terminal', async () => {
  const both = await logOf(['sh', '-c', 'echo one; echo two >&2; printf "no end"']);
  assert.deepEqual([contents(both).toString(), contents(both, 'stderr').toString()], ['one\nno end', 'two\n']);
  const long = await logOf(['sh', '-c', 'head -c 100000 /dev/zero | tr "\\0" x; echo; echo short']);
  assert.equal(contents(long).toString(), `${'x'.repeat(100_000)}\nshort\n`);
  const bytes = await logOf([
    'sh',
    '-c',
    'i=0; while [ $i -lt 256 ]; do printf "\\\\$(printf %o $i)"; i=$((i+1)); done',
  ]);
  assert.deepEqual(
    [...contents(bytes)],
    Array.from({ length: 256 }, (_, byte) => byte),
  );
  const terminal = await logOf(['sh', '-c', 'test -t 1 && echo on a terminal'], { tty: true });
  assert.equal(contents(terminal).toString(), 'on a terminal\r\n');
});

test('no line is lost or doubled by twenty rotations under load', async () => {
  const last = 3_000_000;
  const writer = await runtime.run(['sh', '-c', `sleep 0.2; seq 1 ${last}; sleep 1000`]);
  const { containerId, log } = writer;
  const files: string[] = [];
  for (let rotation = 1; rotation <= 20; rotation++) {
    const size = () => (existsSync(log) ? statSync(log).size : 0);
    await pollUntil('some lines', () => size() > 1_000_000, { timeoutMs, intervalMs: 1 });
    files.push(`${log}.${rotation}`);
    await rename(log, files.at(-1)!);
    // Clients ask again when they were not answered in time.
    await Promise.all([
      runtime.cri.reopenContainerLog({ containerId }),
      runtime.cri.reopenContainerLog({ containerId }),
    ]);
  }
  files.push(log);
  await pollUntil('the last line', async () => (await readFile(log)).includes(` ${last}\n`), { timeoutMs });
  const text = contents(Buffer.concat(await Promise.all(files.map((file) => readFile(file))))).toString();
  assert.ok(text === Array.from({ length: last }, (_, index) => `${index + 1}\n`).join(''));
  await runtime.remove(writer);
});

test('a log that was not moved away stays as it is when it is opened anew', async () => {
  const ticking = await runtime.run(['sh', '-c', 'echo first; while :; do echo tick; sleep 0.02; done']);
  const { containerId, log } = ticking;
  await pollUntil('a line', () => existsSync(log) && readFileSync(log, 'utf8').includes('tick'), { timeoutMs });
  for (let i = 0; i < 3; i++) await runtime.cri.reopenContainerLog({ containerId });
  assert.match(readFileSync(log, 'utf8'), /stdout F first\n/);
  // The directory goes, as when a pod's logs are cleaned away: it is made again, and the container goes on.
  await rm(dirname(log), { recursive: true });
  await runtime.cri.reopenContainerLog({ containerId });
  await pollUntil('a line', () => readFileSync(log, 'utf8').includes('tick'), { timeoutMs });
  // A log that cannot be opened is an error, and the old one goes on.
  await rename(log, `${log}.1`);
  await symlink('/nowhere/at/all', `${log}.tmp`);
  await assert.rejects(runtime.cri.reopenContainerLog({ containerId }), /failed to reopen the log: .* in the way/);
  const size = statSync(`${log}.1`).size;
  await pollUntil('more lines', () => statSync(`${log}.1`).size > size, { timeoutMs });
  await rm(`${log}.tmp`);
  await runtime.cri.reopenContainerLog({ containerId });
  await pollUntil('a line', () => readFileSync(log, 'utf8').includes('tick'), { timeoutMs });
  await runtime.cri.stopContainer({ containerId, timeout: 0n });
  await assert.rejects(runtime.cri.reopenContainerLog({ containerId }), { code: 'FAILED_PRECONDITION' });
  await runtime.remove(ticking);
});

test('a container whose monitor was killed says so when its log is to be opened anew', async () => {
  const orphan = await runtime.run(['sleep', '1000']);
  const { containerId } = orphan;
  const bundle = join(runtime.base, 'state/containers', containerId);
  process.kill(Number(await readFile(join(bundle, 'conmon.pid'), 'utf8')), 'SIGKILL');
  await pollUntil('the end of the monitor', () => processesWith(`conmon --cid ${containerId}`).length === 0, {
    timeoutMs,
  });
  await assert.rejects(
    () => runtime.cri.reopenContainerLog({ containerId }),
    /monitor of container .* has ended|is not running/,
  );
  await runtime.remove(orphan);
});

test('paths of logs: directories that are not there, odd names, none at all', async () => {
  const logs = join(runtime.base, 'logs');
  for (const logPath of ['a/b/0.log', 'with: colon/1.log', 'späce and\n"quote"/2 .log']) {
    const container = await runtime.run(['sh', '-c', 'echo before; cat'], { logPath, stdin: true });
    const file = join(logs, logPath);
    await pollUntil('a line', () => existsSync(file) && contents(readFileSync(file)).length > 0, { timeoutMs });
    await rename(file, `${file}.old`);
    await runtime.cri.reopenContainerLog({ containerId: container.containerId });
    assert.equal(contents(await readFile(`${file}.old`)).toString(), 'before\n');
    assert.equal((await readFile(file)).length, 0);
    await runtime.remove(container);
  }
  await assert.rejects(runtime.run(['true'], { logPath: 'a:b.log' }), { code: 'INVALID_ARGUMENT', message: /colon/ });
  const silent = await runtime.run(['sh', '-c', 'echo nobody hears; exit 4'], { logPath: '' });
  await ended(silent);
  await runtime.cri.reopenContainerLog({ containerId: silent.containerId }).catch(() => {});
  assert.equal((await runtime.cri.containerStatus({ containerId: silent.containerId })).status!.logPath, '');
  await runtime.remove(silent);
});

test('a full disk stops neither the container nor, once there is room, its log', async () => {
  const directory = join(runtime.base, 'logs/small');
  await mkdir(directory, { recursive: true });
  await output(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'none', directory]);
  try {
    const script = 'i=0; while :; do i=$((i+1)); echo $i; [ $((i%1000)) = 0 ] && echo $i >/tmp/i; done';
    const writer = await runtime.run(['sh', '-c', script], { logPath: 'small/0.log' });
    const { containerId } = writer;
    const log = join(directory, '0.log');
    const count = async () => Number((await runtime.output(containerId, 'cat', '/tmp/i')) || 0);
    await pollUntil('a full disk', () => existsSync(log) && statSync(log).size >= 1 << 20, { timeoutMs });
    const before = await count();
    await pollUntil('the container to go on', async () => (await count()) > before, { timeoutMs });
    await rename(log, `${log}.1`);
    await runtime.cri.reopenContainerLog({ containerId });
    await rm(`${log}.1`);
    await pollUntil('new lines', () => statSync(log).size > 1000, { timeoutMs });
    await runtime.remove(writer);
  } finally {
    await output(['umount', '-l', directory]);
  }
});

test('hundreds of megabytes pass by the runtime, which does not grow', async () => {
  const before = runtime.memory();
  const bytes = 300 << 20;
  const line = 'x'.repeat(4000);
  const writer = await runtime.run(['sh', '-c', `yes ${line} | head -c ${bytes}; sleep 1000`]);
  const { containerId, log } = writer;
  const pid = Number(await readFile(join(runtime.base, 'state/containers', containerId, 'conmon.pid'), 'utf8'));
  await pollUntil('all of it', () => statSync(log).size > bytes, { timeoutMs: 60_000 });
  assert.ok(runtime.memory() < before + (20 << 20), `from ${before} to ${runtime.memory()} bytes`);
  const monitor = Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]);
  assert.ok(monitor < 10_000, `the monitor has ${monitor} kB`);
  await writeFile(log, '');
  await runtime.remove(writer);
});
