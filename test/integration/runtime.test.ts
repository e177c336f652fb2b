import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  ContainerEventType,
  ContainerState,
  ImageService,
  NamespaceMode,
  PodSandboxState,
  RuntimeService,
} from '../../src/api/cri/index.ts';
import { pollUntil } from '../../src/async/index.ts';
import { createGrpcClient, type GrpcClient } from '../../src/wire/grpc/index.ts';
import { busyboxEntries, layoutFiles, makeImage, makeLayer, writeFiles } from '../support/images.ts';
import { NetworkNamespace } from '../support/network-namespace.ts';

const applets =
  'sh sleep cat echo id hostname ls true touch ip ping httpd wget mkdir dd kill seq stty test nc printf tail'.split(
    ' ',
  );
const cgroupParent = `/deckhand-test-${process.pid}`;
let namespace: NetworkNamespace;
let base = '';
let runtime: ChildProcess;
let cri: GrpcClient<typeof RuntimeService>;
let images: GrpcClient<typeof ImageService>;
let pods = 0;

async function startRuntime(archive: readonly string[] = []): Promise<void> {
  const settings = JSON.stringify({
    listen: join(base, 'cri.sock'),
    root: join(base, 'root'),
    state: join(base, 'state'),
    podCidr: '10.99.0.0/24',
    bridgeName: 'dhtest0',
    cgroupParent,
  });
  const script = join(import.meta.dirname, '../support/runtime-process.ts');
  const [program, ...argv] = [...namespace.enter(), process.execPath, script, settings, ...archive] as [
    string,
    ...string[],
  ];
  runtime = spawn(program, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise<void>((resolve, reject) => {
    runtime.stdout!.once('data', () => resolve());
    runtime.once('exit', (code) => reject(new Error(`the runtime ended with status ${code}`)));
  });
}

async function endRuntime(signal: NodeJS.Signals): Promise<void> {
  const ended = new Promise((resolve) => runtime.once('exit', resolve));
  runtime.kill(signal);
  await ended;
}

before(async () => {
  base = await mkdtemp(join(tmpdir(), 'dh-runtime-'));
  namespace = await NetworkNamespace.create('runtime');
  const image = makeImage([makeLayer(await busyboxEntries(applets))], { config: { Env: ['PATH=/bin'], Cmd: ['sh'] } });
  await writeFiles(join(base, 'layout'), layoutFiles([{ image }]));
  await startRuntime([join(base, 'layout'), 'busybox']);
  cri = createGrpcClient(RuntimeService, join(base, 'cri.sock'));
  images = createGrpcClient(ImageService, join(base, 'cri.sock'));
});

after(async () => {
  cri?.close();
  images?.close();
  if (runtime?.exitCode === null && runtime.signalCode === null) await endRuntime('SIGUSR2');
  await namespace?.[Symbol.asyncDispose]();
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(base));
  assert.deepEqual(mounts, []);
  assert.ok(!existsSync(`/sys/fs/cgroup/memory${cgroupParent}`), 'the cgroup is left');
  await rm(base, { recursive: true, force: true });
});

const sandboxConfig = (pid = NamespaceMode.CONTAINER) => ({
  metadata: { name: `pod${++pods}`, namespace: 'default', uid: `uid${pods}`, attempt: 0 },
  hostname: `host${pods}`,
  logDirectory: join(base, 'logs'),
  dnsConfig: { servers: ['10.96.0.10'], searches: ['svc.cluster.local'], options: ['ndots:5'] },
  linux: { securityContext: { namespaceOptions: { pid } } },
});

async function runContainer(config: ReturnType<typeof sandboxConfig>, command: string[], more: object = {}) {
  const { podSandboxId } = await cri.runPodSandbox({ config });
  const pid = config.linux.securityContext.namespaceOptions.pid;
  const { containerId } = await cri.createContainer({
    podSandboxId,
    config: {
      metadata: { name: 'main', attempt: 0 },
      image: { image: 'busybox' },
      command,
      logPath: `${config.metadata.name}.log`,
      linux: { securityContext: { namespaceOptions: { pid }, seccomp: {} } },
      ...more,
    },
    sandboxConfig: config,
  });
  await cri.startContainer({ containerId });
  return { podSandboxId, containerId, log: join(base, 'logs', `${config.metadata.name}.log`) };
}

const status = async (containerId: string) => (await cri.containerStatus({ containerId })).status!;
const exited = (containerId: string) =>
  pollUntil(
    'the end of the container',
    async () => {
      const now = await status(containerId);
      return now.state === ContainerState.CONTAINER_EXITED && now;
    },
    { timeoutMs: 10_000 },
  );
const output = async (containerId: string, ...cmd: string[]) =>
  Buffer.from((await cri.execSync({ containerId, cmd, timeout: 10n })).stdout)
    .toString()
    .trim();

test('a container runs in its sandbox: name, resolver, address, log, exit code', async () => {
  const config = sandboxConfig();
  const { podSandboxId, containerId, log } = await runContainer(config, [
    'sh',
    '-c',
    'echo out; echo err >&2; hostname; cat /etc/resolv.conf; exit 7',
  ]);
  const ended = await exited(containerId);
  assert.deepEqual([ended.exitCode, ended.reason], [7, 'Error']);
  const lines = (await readFile(log, 'utf8'))
    .trim()
    .split('\n')
    .map((line) => line.split(' ').slice(1).join(' '));
  assert.ok(
    lines.includes('stdout F out') && lines.includes('stderr F err') && lines.includes(`stdout F ${config.hostname}`),
  );
  assert.ok(lines.includes('stdout F nameserver 10.96.0.10') && lines.includes('stdout F options ndots:5'));
  const sandbox = (await cri.podSandboxStatus({ podSandboxId })).status!;
  assert.match(sandbox.network!.ip, /^10\.99\.0\.\d+$/);
  assert.equal((await namespace.run(['ping', '-c1', '-W1', sandbox.network!.ip])).status, 0);
  await cri.removePodSandbox({ podSandboxId });
  await assert.rejects(cri.podSandboxStatus({ podSandboxId }), { code: 'NOT_FOUND' });
});

test('a command that is not in the image is told as users know it', async () => {
  const config = sandboxConfig();
  await assert.rejects(
    runContainer(config, ['no-such-program']),
    /exec: "no-such-program": executable file not found in \$PATH/,
  );
  const { containers } = await cri.listContainers({ filter: { state: { state: ContainerState.CONTAINER_EXITED } } });
  const failed = await status(containers[0]!.id);
  assert.deepEqual([failed.exitCode, failed.reason], [128, 'StartError']);
  await cri.removePodSandbox({ podSandboxId: containers[0]!.podSandboxId });
});

test('exec gives output and status, and a timeout ends the command', async () => {
  const { podSandboxId, containerId } = await runContainer(sandboxConfig(), ['sleep', '1000']);
  const result = await cri.execSync({ containerId, cmd: ['sh', '-c', 'echo a; echo b >&2; exit 3'], timeout: 10n });
  assert.deepEqual(
    [Buffer.from(result.stdout).toString(), Buffer.from(result.stderr).toString(), result.exitCode],
    ['a\n', 'b\n', 3],
  );
  await assert.rejects(cri.execSync({ containerId, cmd: ['sleep', '12345'], timeout: 1n }), {
    code: 'DEADLINE_EXCEEDED',
  });
  const left = readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && commandLine(pid).includes('sleep\x0012345'));
  assert.deepEqual(left, []);
  await assert.rejects(cri.execSync({ containerId, cmd: ['nope'], timeout: 5n }), /executable file not found/);
  await cri.stopPodSandbox({ podSandboxId });
  await cri.stopPodSandbox({ podSandboxId });
  assert.equal((await cri.podSandboxStatus({ podSandboxId })).status!.state, PodSandboxState.SANDBOX_NOTREADY);
  await cri.removePodSandbox({ podSandboxId });
  await cri.removePodSandbox({ podSandboxId });
});

const commandLine = (pid: string): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
};

test('pods reach one another through the host, and share a PID namespace when asked', async () => {
  const config = sandboxConfig(NamespaceMode.POD);
  const server = await runContainer(config, [
    'sh',
    '-c',
    'mkdir /w; echo page >/w/index.html; exec httpd -f -p 8080 -h /w',
  ]);
  const client = await runContainer(sandboxConfig(), ['sleep', '1000']);
  const { ip } = (await cri.podSandboxStatus({ podSandboxId: server.podSandboxId })).status!.network!;
  // Debian's static busybox cannot look names up: its wget crashes even with an address.
  const request = String.raw`'GET / HTTP/1.0\r\n\r\n'`;
  const fetchPage = () => output(client.containerId, 'sh', '-c', `printf ${request} | nc -w 2 ${ip} 8080 | tail -n1`);
  const page = await pollUntil('the page', async () => (await fetchPage()) || undefined, { timeoutMs: 5000 });
  assert.equal(page, 'page');
  assert.match(await output(server.containerId, 'cat', '/proc/1/cmdline'), /pause/);
  await cri.stopContainer({ containerId: server.containerId, timeout: 1n });
  for (const { podSandboxId } of [server, client]) await cri.removePodSandbox({ podSandboxId });
});

test('a container over its memory limit is OOMKilled', async () => {
  const command = ['sh', '-c', 'x=a; while :; do x=$x$x$x$x; done'];
  const linux = {
    resources: { memoryLimitInBytes: 20n << 20n },
    securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } },
  };
  const { podSandboxId, containerId } = await runContainer(sandboxConfig(), command, { linux });
  const ended = await exited(containerId);
  assert.deepEqual([ended.exitCode, ended.reason], [137, 'OOMKilled']);
  await cri.removePodSandbox({ podSandboxId });
});

test('the log is written on in a new file after a rotation', async () => {
  const { podSandboxId, containerId, log } = await runContainer(sandboxConfig(), [
    'sh',
    '-c',
    'while :; do echo tick; sleep 0.05; done',
  ]);
  await pollUntil('a log line', () => existsSync(log) && readFileSync(log, 'utf8').includes('tick'), {
    timeoutMs: 5000,
  });
  await rename(log, `${log}.1`);
  await cri.reopenContainerLog({ containerId });
  await pollUntil('a line in the new file', () => readFileSync(log, 'utf8').includes('tick'), { timeoutMs: 5000 });
  await cri.removePodSandbox({ podSandboxId });
});

test('events tell of a life in order', async () => {
  const controller = new AbortController();
  const seen: string[] = [];
  const reading = (async () => {
    for await (const event of cri.getContainerEvents({}, { signal: controller.signal }))
      seen.push(`${event.containerId} ${ContainerEventType[event.containerEventType]}`);
  })().catch(() => {});
  await pollUntil('the stream', async () => (await cri.version({})).version, { timeoutMs: 1000 });
  const { podSandboxId, containerId } = await runContainer(sandboxConfig(), ['true']);
  await exited(containerId);
  await cri.removePodSandbox({ podSandboxId });
  const own = () => seen.filter((line) => line.startsWith(containerId)).map((line) => line.split(' ')[1]);
  await pollUntil('the last event', () => own().length >= 4, { timeoutMs: 5000 });
  assert.deepEqual(own(), [
    'CONTAINER_CREATED_EVENT',
    'CONTAINER_STARTED_EVENT',
    'CONTAINER_STOPPED_EVENT',
    'CONTAINER_DELETED_EVENT',
  ]);
  controller.abort();
  await reading;
});

test('after a kill -9 everything is adopted, with the exit codes of what ended meanwhile', async () => {
  const lives = await runContainer(sandboxConfig(), ['sh', '-c', 'while :; do echo tick; sleep 0.05; done']);
  const dies = await runContainer(sandboxConfig(), ['sh', '-c', 'sleep 0.5; exit 5']);
  await endRuntime('SIGKILL');
  const before = readFileSync(lives.log, 'utf8').length;
  await pollUntil('a log line without a runtime', () => readFileSync(lives.log, 'utf8').length > before + 200, {
    timeoutMs: 5000,
  });
  await pollUntil('the exit file', () => existsSync(join(base, 'state/exits', dies.containerId)), { timeoutMs: 5000 });
  await startRuntime();
  await pollUntil(
    'the new runtime',
    () =>
      cri.version({}).then(
        () => true,
        () => false,
      ),
    { timeoutMs: 5000 },
  );
  assert.equal((await status(lives.containerId)).state, ContainerState.CONTAINER_RUNNING);
  assert.equal(await output(lives.containerId, 'echo', 'adopted'), 'adopted');
  assert.equal((await exited(dies.containerId)).exitCode, 5);
  for (const { podSandboxId } of [lives, dies]) await cri.removePodSandbox({ podSandboxId });
  assert.deepEqual((await cri.listPodSandbox({})).items, []);
  const links = async () => (await namespace.output(['ip', '-br', 'link'])).split('\n');
  await pollUntil(
    'only the bridge is left',
    async () => (await links()).filter((line) => line.startsWith('dh')).length === 1,
    { timeoutMs: 10_000 },
  );
});

test('stats and image file system are told', async () => {
  const { podSandboxId, containerId } = await runContainer(sandboxConfig(), ['sleep', '1000']);
  const { stats } = await cri.containerStats({ containerId });
  assert.ok(stats!.memory!.workingSetBytes!.value > 0n && stats!.cpu!.usageCoreNanoSeconds!.value > 0n);
  const pod = (await cri.podSandboxStats({ podSandboxId })).stats!;
  assert.equal(pod.linux!.network!.defaultInterface!.name, 'eth0');
  assert.equal((await images.imageFsInfo({})).imageFilesystems.length, 1);
  await cri.removePodSandbox({ podSandboxId });
});
