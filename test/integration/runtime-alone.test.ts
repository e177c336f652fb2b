import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ImageService, RuntimeService } from '../../src/api/cri/index.ts';
import { pollUntil } from '../../src/async/index.ts';
import { createGrpcClient, type GrpcClient } from '../../src/wire/grpc/index.ts';
import { busyboxEntries, makeImage, makeLayer } from '../support/images.ts';
import { NetworkNamespace } from '../support/network-namespace.ts';
import type { Result } from '../support/processes.ts';
import { startRegistry } from '../support/registry.ts';

const deckhand = join(import.meta.dirname, '../../bin/deckhand');
let base = '';
let namespace: NetworkNamespace;
const started: ChildProcess[] = [];

before(async () => {
  base = await mkdtemp(join(tmpdir(), 'dh-alone-'));
  namespace = await NetworkNamespace.create('alone');
});

after(async () => {
  for (const child of started) if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  await namespace[Symbol.asyncDispose]();
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8');
  assert.ok(!mounts.includes(base), 'mounts are left');
  await rm(base, { recursive: true, force: true });
});

/** Where a runtime of its own lives. */
function places(name: string) {
  const socket = join(base, `${name}.sock`);
  const where = [
    '--listen',
    `unix://${socket}`,
    '--root',
    join(base, name, 'root'),
    '--state',
    join(base, name, 'state'),
  ];
  return { socket, where };
}

interface Running {
  child: ChildProcess;
  socket: string;
  said: () => string;
  cri: GrpcClient<typeof RuntimeService>;
  images: GrpcClient<typeof ImageService>;
  /** Ends it with a signal; gives its status. */
  end(signal: NodeJS.Signals): Promise<number | null>;
  /** Takes away what it made, and ends it. */
  remove(): Promise<void>;
}

/** Starts `deckhand runtime` with places of its own and waits until it serves. */
async function start(name: string, options: readonly string[]): Promise<Running> {
  const { socket, where } = places(name);
  const group = ['--cgroup-parent', `/dh-alone-${process.pid}-${name}`];
  const [program, ...argv] = [
    ...namespace.enter(),
    deckhand,
    'runtime',
    '--supervised',
    ...where,
    ...group,
    ...options,
  ];
  const child = spawn(program!, argv, { stdio: ['pipe', 'pipe', 'pipe'] });
  started.push(child);
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  const ended = once(child, 'exit') as Promise<[number | null]>;
  await Promise.race([
    pollUntil('ready', () => said.includes('ready\n'), { timeoutMs: 20_000 }),
    ended.then(() => assert.fail(`the runtime ended: ${said}`)),
  ]);
  const cri = createGrpcClient(RuntimeService, socket);
  const images = createGrpcClient(ImageService, socket);
  const finish = async (): Promise<number | null> => {
    cri.close();
    images.close();
    return (await ended)[0];
  };
  return {
    child,
    socket,
    said: () => said,
    cri,
    images,
    end: (signal) => {
      child.kill(signal);
      return finish();
    },
    remove: async () => {
      child.stdin!.write('stop remove\n');
      await finish();
    },
  };
}

/** Runs the command to its end. */
const command = (...argv: string[]): Promise<Result> =>
  namespace.run([deckhand, 'runtime', ...argv], { timeoutMs: 20_000 });

/** A configuration file. */
async function configure(name: string, text: string): Promise<string> {
  const path = join(base, name);
  await writeFile(path, text);
  return path;
}

test('a configuration that cannot be is refused with its line, and status 2', async () => {
  const cases = [
    ['mtu: 1400\nmut: 3\n', /:2: unknown setting "mut": did you mean mtu\?/],
    ['mtu: 1400\n\nstreamingPort: often\n', /:3: streamingPort must be a whole number from 0 to 65535, not "often"/],
    [
      'registries:\n  - registry: a\n    mirrors:\n      - ftp://x\n',
      /:4: registries\[0\]\.mirrors\[0\] must be an address/,
    ],
    ['registries:\n  - mirrors: []\n', /:2: registries\[0\] needs registry/],
    ['mtu: 1400\nmtu: 1500\n', /:2: Map keys must be unique/],
    ['a: [\n', /:\d: /],
    ['- 1\n', /the file must be a mapping, not a list/],
  ] as const;
  for (const [text, expected] of cases) {
    const file = await configure('bad.yaml', text);
    const { status, stderr } = await command('check', '--config', file);
    assert.equal(status, 2, stderr);
    assert.match(stderr, expected);
    assert.ok(stderr.includes(file));
  }
  const absent = await command('--config', '/no/such/file');
  assert.deepEqual([absent.status, /cannot read \/no\/such\/file/.test(absent.stderr)], [2, true]);
  const user = ['setpriv', '--reuid', '65534', '--clear-groups', deckhand, 'runtime'];
  const nobody = await namespace.run(user);
  assert.equal(nobody.status, 1);
  assert.match(nobody.stderr, /needs root: run it with sudo/);
  const flag = await command('--mtu-size', '3');
  assert.equal(flag.status, 2);
  const listen = await command('--listen', 'tcp://1.2.3.4:5');
  assert.match(listen.stderr, /not a unix socket/);
});

test('check prints the settings in effect, without secrets, and looks at the machine', async () => {
  const file = await configure(
    'check.yaml',
    'mtu: 1400\nregistries:\n  - registry: r.example\n    auth: { username: u, password: hidden-word }\n',
  );
  await mkdir(join(base, 'check.d'));
  await configure('check.d/20-more.yaml', 'mtu: 1300\nmaxParallelLayers: 7\n');
  const options = ['--config', file, '--config-dir', join(base, 'check.d'), '--pod-cidr', '10.3.0.0/24'];
  const { status, stdout } = await command('check', ...options);
  assert.equal(status, 0, stdout);
  for (const line of [
    'mtu: 1300',
    'maxParallelLayers: 7',
    'podCidr: 10.3.0.0/24',
    'bridgeName: deckhand0',
    'username: u',
  ])
    assert.ok(stdout.includes(line), `${line} is not in\n${stdout}`);
  assert.ok(!stdout.includes('hidden-word'));
  assert.match(stdout, /^ok +OCI runtime runc +runc version/m);
  assert.match(stdout, /^ok +conmon +conmon version/m);
  const broken = await configure('check-broken.yaml', 'conmonPath: /no/conmon\n');
  const result = await command('check', '--config', broken);
  assert.equal(result.status, 1);
  assert.match(result.stdout, /^problem +conmon +\/no\/conmon cannot be run/m);
});

test('a socket has its permissions; a stale one is replaced; one in use, or directories in use, are refused', async () => {
  const { socket } = places('first');
  await writeFile(socket, '');
  const first = await start('first', ['--socket-mode', '0600']);
  assert.equal((await stat(socket)).mode & 0o777, 0o600);
  const other = places('other').where;
  const sameSocket = await command('--listen', `unix://${socket}`, ...other.slice(2));
  assert.equal(sameSocket.status, 1);
  assert.match(sameSocket.stderr, /another process serves .*first\.sock: stop it, or choose another socket/);
  const sameRoot = await command(...other.slice(0, 2), '--root', join(base, 'first/root'), ...other.slice(4));
  assert.equal(sameRoot.status, 1);
  assert.match(sameRoot.stderr, new RegExp(`first/root is used by another runtime \\(process ${first.child.pid}\\)`));
  assert.equal((await first.cri.version({})).runtimeName, 'deckhand');
  // A second one beside it, with places of its own.
  const second = await start('second', ['--pod-cidr', '10.4.0.0/24']);
  assert.equal((await second.cri.version({})).runtimeName, 'deckhand');
  await second.remove();
  assert.equal(await first.end('SIGKILL'), null);
  assert.ok(existsSync(socket));
  const again = await start('first', []);
  await again.remove();
  assert.ok(!existsSync(socket));
});

test('SIGTERM leaves containers running, with status 0; SIGHUP reads the configuration again', async () => {
  await using registry = await startRegistryInside();
  const rules = (mirror: string, more = '') =>
    `bridgeName: dhalone1\npodCidr: 10.5.0.0/24\nregistries:\n  - registry: images.example\n    mirrors: ["${mirror}"]\n${more}`;
  const file = await configure('live.yaml', rules('http://127.0.0.1:1'));
  const first = await start('live', ['--config', file, '--metrics-address', '127.0.0.1:9095']);
  const image = { image: 'images.example/demo/busybox:1' };
  await assert.rejects(first.images.pullImage({ image }), /127\.0\.0\.1:1|images\.example/);
  await configure('live.yaml', rules(`http://${registry.host}`, 'logLevel: debug\nmtu: 1300\n'));
  first.child.kill('SIGHUP');
  await pollUntil('the new rules', () => first.said().includes('configuration was read again'), { timeoutMs: 5000 });
  assert.match(first.said(), /applied=.*registries.*needRestart=.*mtu/);
  await first.images.pullImage({ image });
  await assert.rejects(first.cri.containerStatus({ containerId: 'none' }));
  await pollUntil('a debug line', () => / DEBUG /.test(first.said()), { timeoutMs: 2000 });
  await configure('live.yaml', 'nonsense: 1\n');
  first.child.kill('SIGHUP');
  await pollUntil('the refusal', () => /what was in effect stays.*unknown setting/.test(first.said()), {
    timeoutMs: 5000,
  });
  const config = { metadata: { name: 'p', uid: 'u', namespace: 'n', attempt: 0 }, logDirectory: join(base, 'logs') };
  const { podSandboxId } = await first.cri.runPodSandbox({ config });
  const container = { metadata: { name: 'c', attempt: 0 }, image, command: ['sleep', '1000'] };
  const request = { podSandboxId, sandboxConfig: config, config: container };
  const { containerId } = await first.cri.createContainer(request);
  await first.cri.startContainer({ containerId });
  const metrics = (await namespace.run(['curl', '-s', 'http://127.0.0.1:9095/metrics'])).stdout;
  assert.match(metrics, /deckhand_cri_call_duration_seconds_count\{method="RunPodSandbox"\} 1/);
  assert.match(
    metrics,
    /deckhand_cri_stage_duration_seconds_count\{method="StartContainer",stage="create the task"\} 1/,
  );
  assert.match(metrics, /deckhand_containers\{state="running"\} 1/);
  assert.equal(await first.end('SIGTERM'), 0);
  const { pid } = JSON.parse(readFileSync(join(base, 'live/root/containers', containerId, 'container.json'), 'utf8'))
    .phase.process;
  assert.match(readFileSync(`/proc/${pid}/cmdline`, 'utf8'), /^sleep/);
  await configure('live.yaml', rules(`http://${registry.host}`));
  const again = await start('live', ['--config', file]);
  const told = await command('explain', '--listen', `unix://${again.socket}`, '--pod', 'n/p');
  assert.match(told.stdout, /^pod n\/p, attempt 0, uid u\n {2}sandbox .*SANDBOX_READY/);
  assert.match(told.stdout, /container +c, attempt 0[\s\S]*runs since[\s\S]*process +\d+ sleep 1000, S/);
  const { containers } = await again.cri.listContainers({});
  assert.deepEqual(
    containers.map(({ id, state }) => [id, state]),
    [[containerId, 1]],
  );
  await again.remove();
  assert.ok(!existsSync(`/proc/${pid}`));
});

/** A registry in the namespace would need a process: the one of the tests is reached through a relay there. */
async function startRegistryInside() {
  const registry = await startRegistry();
  const layer = makeLayer(await busyboxEntries(['sh', 'sleep']));
  registry.push('demo/busybox', '1', makeImage([layer], { config: { Cmd: ['sh'] } }));
  const path = join(base, 'registry.sock');
  const outside = spawn('socat', [`UNIX-LISTEN:${path},fork`, `TCP:${registry.host}`]);
  const [program, ...argv] = [...namespace.enter(), 'socat', 'TCP-LISTEN:5000,bind=127.0.0.1,fork', `UNIX:${path}`];
  const inside = spawn(program!, argv);
  started.push(outside, inside);
  await pollUntil(
    'the relay',
    async () => (await namespace.run(['curl', '-s', 'http://127.0.0.1:5000/v2/'])).status === 0,
    {
      timeoutMs: 10_000,
    },
  );
  return {
    host: '127.0.0.1:5000',
    [Symbol.asyncDispose]: async () => {
      inside.kill();
      outside.kill();
      await registry[Symbol.asyncDispose]();
    },
  };
}

test('a call that is stuck says where, to its caller, to the next one and in the status; and its name does not stick', async () => {
  const [plugins, networks, gate] = ['plugins', 'net.d', 'gate'].map((name) => join(base, name)) as [
    string,
    string,
    string,
  ];
  for (const directory of [plugins, networks]) await mkdir(directory);
  // A plugin that is stuck for as long as nobody opens its gate.
  const plugin = join(plugins, 'stuck');
  const version = '{"cniVersion":"1.0.0","supportedVersions":["1.0.0"]}';
  const result = '{"cniVersion":"1.0.0","ips":[{"address":"10.6.0.2/24"}]}';
  const script = `#!/bin/sh\n[ "$CNI_COMMAND" = VERSION ] && { echo '${version}'; exit; }\n[ "$CNI_COMMAND" = ADD ] || exit 0\nwhile [ ! -e ${gate} ]; do sleep 0.05; done\necho '${result}'\n`;
  await writeFile(plugin, script);
  await chmod(plugin, 0o755);
  await writeFile(
    join(networks, '10.conflist'),
    JSON.stringify({ cniVersion: '1.0.0', name: 'stuck', plugins: [{ type: 'stuck' }] }),
  );
  const file = await configure(
    'stuck.yaml',
    JSON.stringify({ cniConfDir: networks, cniBinDirs: [plugins], bridgeName: 'dhalone2' }),
  );
  const runtime = await start('stuck', ['--config', file]);
  const config = { metadata: { name: 'web', uid: 'u', namespace: 'default', attempt: 0 } };
  const first = runtime.cri.runPodSandbox({ config }, { timeoutMs: 2000 });
  await assert.rejects(first, {
    code: 'DEADLINE_EXCEEDED',
    message: /^RunPodSandbox of pod default\/web is not done: waiting [\d.]+ s for CNI ADD by plugin stuck/,
  });
  const second = runtime.cri.runPodSandbox({ config }, { timeoutMs: 1500 });
  await assert.rejects(second, {
    code: 'DEADLINE_EXCEEDED',
    message:
      /waiting [\d.]+ s for an earlier call \(RunPodSandbox of pod default\/web, waiting [\d.]+ s for CNI ADD by plugin stuck/,
  });
  const { info } = await runtime.cri.status({ verbose: true });
  const stuck = JSON.parse(info['calls']!).inFlight.find(({ call }: { call: string }) =>
    call.startsWith('RunPodSandbox'),
  );
  assert.equal(stuck.callerHasGone, true);
  assert.match(stuck.now, /for CNI ADD by plugin stuck/);
  const told = await command('explain', '--listen', `unix://${runtime.socket}`, '--pod', 'web');
  assert.match(
    told.stdout,
    /^pod web has no sandbox \(yet\)\n {2}now +RunPodSandbox of pod default\/web: waiting .* CNI ADD/,
  );
  const nobody = await command('explain', '--listen', `unix://${runtime.socket}`, '--pod', 'eb');
  assert.deepEqual([nobody.status, /there is no pod eb: there are none/.test(nobody.stderr)], [1, true]);
  const differs = { ...config, hostname: 'other' };
  await assert.rejects(runtime.cri.runPodSandbox({ config: differs }), { code: 'ALREADY_EXISTS' });
  const third = runtime.cri.runPodSandbox({ config });
  await writeFile(gate, '');
  const { podSandboxId } = await third;
  const { items } = await runtime.cri.listPodSandbox({});
  assert.deepEqual(
    items.map(({ id }) => id),
    [podSandboxId],
  );
  await runtime.remove();
});

test('a volume that does not answer stops its own container only, is named, and its name is free when it is over', async (t) => {
  if (!existsSync('/dev/fuse')) return t.skip('the kernel has no FUSE');
  const hung = join(base, 'hung');
  await mkdir(hung);
  const support = join(import.meta.dirname, '../support/hung-mount.ts');
  const mount = spawn(process.execPath, [support, hung], { stdio: ['pipe', 'pipe', 'inherit'] });
  started.push(mount);
  await once(mount.stdout, 'data');
  await using registry = await startRegistryInside();
  const rules = {
    registries: [{ registry: 'images.example', mirrors: [`http://${registry.host}`] }],
    bridgeName: 'dhalone3',
  };
  const file = await configure('hung.yaml', JSON.stringify({ ...rules, podCidr: '10.7.0.0/24' }));
  const runtime = await start('patient', ['--config', file]);
  const image = { image: 'images.example/demo/busybox:1' };
  await runtime.images.pullImage({ image });
  const sandboxConfig = {
    metadata: { name: 'p', uid: 'u', namespace: 'n', attempt: 0 },
    logDirectory: join(base, 'logs'),
  };
  const { podSandboxId } = await runtime.cri.runPodSandbox({ config: sandboxConfig });
  const container = (name: string, hostPath: string) => ({
    podSandboxId,
    sandboxConfig,
    config: {
      metadata: { name, attempt: 0 },
      image,
      command: ['sleep', '9'],
      mounts: [{ hostPath, containerPath: '/v' }],
    },
  });
  const bad = container('bad', join(hung, 'data'));
  for (const words of [
    /waiting [\d.]+ s for stat of volume .*hung\/data$/,
    /an earlier call \(CreateContainer of container bad .*stat of volume .*hung\/data\)$/,
  ])
    await assert.rejects(runtime.cri.createContainer(bad, { timeoutMs: 1000 }), {
      code: 'DEADLINE_EXCEEDED',
      message: words,
    });
  const { containerId } = await runtime.cri.createContainer(container('good', base));
  await runtime.cri.startContainer({ containerId });
  mount.stdin.end();
  await once(mount, 'exit');
  await pollUntil(
    'the end of the stuck call',
    async () =>
      !JSON.parse((await runtime.cri.status({ verbose: true })).info['calls']!).inFlight.some(
        ({ call }: { call: string }) => call.startsWith('CreateContainer'),
      ),
    { timeoutMs: 10_000 },
  );
  await mkdir(join(hung, 'data'));
  const again = await runtime.cri.createContainer(bad);
  assert.ok(again.containerId);
  await runtime.remove();
});
