/**
 * Every verb of crictl, as a new user would type it. Runs with the crictl that CRICTL names or that is in PATH; there is no
 * Debian package of it, so without one these tests are skipped.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { pollUntil } from '../../src/async/index.ts';
import { criImageNames } from '../support/cri-images.ts';
import { CriRegistry } from '../support/cri-registry.ts';
import { CriRuntime } from '../support/cri-runtime.ts';
import { Crictl, findCrictl } from '../support/crictl.ts';
import { NetworkNamespace } from '../support/network-namespace.ts';

const program = findCrictl();
const skip = program === undefined && 'no crictl: it is not in PATH, and CRICTL does not name one';
const { busybox, nginx, pause } = criImageNames;
const short = (id: string): string => id.slice(0, 13);
const lines = (text: string): string[] => text.split('\n').filter(Boolean);

describe('crictl', { skip }, () => {
  const stack = new AsyncDisposableStack();
  let namespace: NetworkNamespace;
  let runtime: CriRuntime;
  let crictl: Crictl;

  before(async () => {
    namespace = stack.use(await NetworkNamespace.create('crictl'));
    const registry = stack.use(await CriRegistry.start(namespace));
    runtime = stack.use(await CriRuntime.start(namespace, { mirrors: registry.mirrors() }));
    crictl = new Crictl(program as string, namespace, runtime);
    await crictl.do('pull', busybox);
  });

  // One that fails leaves nothing to the next.
  afterEach(() => crictl.do('rmp', '-a', '-f'));
  after(() => stack.disposeAsync());

  /** Writes a configuration file and gives its path. */
  function file(name: string, content: unknown): string {
    const path = join(runtime.directory, name);
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
    return path;
  }

  const podFile = (name: string, more: object = {}): string =>
    file(`${name}-pod.json`, {
      metadata: { name, namespace: 'default', uid: `uid-${name}`, attempt: 0 },
      hostname: name,
      log_directory: join(runtime.directory, 'logs', name),
      labels: { app: name },
      linux: {},
      ...more,
    });

  const containerFile = (name: string, command: string[], more: object = {}): string =>
    file(`${name}.json`, {
      metadata: { name },
      image: { image: busybox },
      command,
      log_path: `${name}.log`,
      labels: { role: name },
      linux: {},
      ...more,
    });

  /** Runs a pod and a container in it. */
  async function start(
    name: string,
    command: string[],
    more: object = {},
  ): Promise<{ pod: string; container: string }> {
    const [podPath, path] = [podFile(name), containerFile(name, command, more)];
    const pod = (await crictl.do('runp', podPath)).trim();
    const container = (await crictl.do('create', pod, path, podPath)).trim();
    await crictl.do('start', container);
    return { pod, container };
  }

  const remove = (pod: string): Promise<string> => crictl.do('rmp', '-f', pod);

  test('version, info, runtime-config, config, completion', async () => {
    assert.match(await crictl.do('version'), /RuntimeName: {2}deckhand\n.*RuntimeApiVersion: {2}v1/s);
    const info = await crictl.json('info');
    const conditions = info.status.conditions.map(({ type, status }: { type: string; status: boolean }) => [
      type,
      status,
    ]);
    assert.deepEqual(conditions.slice(0, 2), [
      ['RuntimeReady', true],
      ['NetworkReady', true],
    ]);
    assert.equal(info.config.rootDir, join(runtime.directory, 'data/root'));
    assert.match(await crictl.do('info', '-o', 'yaml'), /^status:/m);
    assert.match(await crictl.do('runtime-config'), /CGROUPFS|SYSTEMD/);
    await crictl.do('config', '--set', 'timeout=5');
    assert.equal((await crictl.do('config', '--get', 'timeout')).trim(), '5');
    assert.match(await crictl.do('completion', 'bash'), /complete/);
  });

  test('update-runtime-config tells the range of addresses, and refuses nonsense', async () => {
    const bad = await crictl.try(['update-runtime-config', '--pod-cidr', 'nonsense']);
    assert.notEqual(bad.status, 0);
    assert.match(bad.stderr, /nonsense/);
    await crictl.do('update-runtime-config', '--pod-cidr', '10.97.0.0/24');
    assert.equal((await crictl.json('info')).config.podCidr, '10.97.0.0/24');
  });

  test('pull, images, inspecti, imagefsinfo, rmi', async () => {
    const id = /sha256:[0-9a-f]{64}/.exec(await crictl.do('pull', nginx))![0];
    await crictl.do('pull', pause);
    const [, row] = lines(await crictl.do('images', nginx));
    assert.deepEqual(row!.split(/\s+/).slice(0, 3), [nginx.split(':')[0], nginx.split(':')[1], short(id.slice(7))]);
    const repository = nginx.split(':')[0]!;
    assert.deepEqual(lines(await crictl.do('images', '-q', repository)), [id]);
    assert.deepEqual(lines(await crictl.do('images', '-q', '--filter', 'reference=.*nginx.*')), [id]);
    assert.deepEqual(lines(await crictl.do('images', '-q', 'registry.k8s.io/no-such')), []);
    const digest = (await crictl.json('images', '-o', 'json', id)).images[0].repoDigests[0] as string;
    assert.match(await crictl.do('images', '--digests', '--no-trunc'), new RegExp(digest.split('@')[1]!));
    for (const reference of [nginx, id, id.slice(7), short(id.slice(7)), digest]) {
      assert.equal((await crictl.json('inspecti', reference)).status.id, id, reference);
    }
    const inspected = await crictl.json('inspecti', nginx);
    assert.deepEqual(inspected.info.imageSpec.config.Cmd, ['nginx', '-g', 'daemon off;']);
    assert.match(await crictl.do('inspecti', '-o', 'table', nginx), new RegExp(`Tag: ${nginx}`));
    const usage = (await crictl.json('imagefsinfo')).status;
    assert.ok(Number(usage.imageFilesystems[0].usedBytes.value) > 1_000_000);
    assert.match(await crictl.do('imagefsinfo', '-o', 'table'), /Image Filesystem/);
    // By digest it is there already.
    assert.match(await crictl.do('pull', digest), new RegExp(id));
    assert.match(await crictl.do('rmi', short(id.slice(7))), /Deleted: .*nginx/);
    assert.equal((await crictl.try(['inspecti', nginx])).status, 1);
    assert.match((await crictl.try(['rmi', nginx])).stderr, /no such image/);
  });

  test('rmi --prune leaves images that containers use', async () => {
    const { pod } = await start('keep', ['sleep', '1000']);
    await crictl.do('pull', pause);
    await crictl.do('rmi', '--prune');
    assert.deepEqual(
      lines(await crictl.do('images'))
        .slice(1)
        .map((row) => row.split(/\s+/)[0]),
      [busybox.split(':')[0]],
    );
    await remove(pod);
  });

  test('a pull that cannot succeed says why', async () => {
    const unknown = await crictl.try(['pull', 'registry.k8s.io/no-such-image:1']);
    assert.equal(unknown.status, 1);
    assert.match(unknown.stderr, /registry\.k8s\.io\/no-such-image:1/);
    const malformed = await crictl.try(['pull', 'registry.k8s.io/UPPER']);
    assert.match(malformed.stderr, /must be lowercase|invalid reference format/);
    assert.match((await crictl.try(['inspecti', 'nope'])).stderr, /no such image/);
  });

  test('runp, pods, inspectp, stopp, rmp', async () => {
    const yaml = file(
      'yaml-pod.yaml',
      'metadata:\n  name: yaml\n  namespace: other\n  uid: u2\n  attempt: 0\nlinux: {}\n',
    );
    const [first, second] = [
      (await crictl.do('runp', podFile('first'))).trim(),
      (await crictl.do('runp', yaml)).trim(),
    ];
    const ids = async (...flags: string[]): Promise<string[]> => lines(await crictl.do('pods', '-q', ...flags)).sort();
    assert.deepEqual(await ids(), [first, second].sort());
    assert.deepEqual(await ids('--name', '^fir'), [first]);
    assert.deepEqual(await ids('--namespace', 'other'), [second]);
    assert.deepEqual(await ids('--label', 'app=first'), [first]);
    assert.deepEqual(await ids('--id', short(first)), [first]);
    assert.deepEqual(await ids('--latest'), [second]);
    assert.match(await crictl.do('pods', '--name', 'first'), new RegExp(`${short(first)} .*Ready +first +default +0`));
    const { status, info } = await crictl.json('inspectp', short(first));
    assert.deepEqual([status.id, status.state, status.labels], [first, 'SANDBOX_READY', { app: 'first' }]);
    assert.match(status.network.ip, /^10\.97\.0\.\d+$/);
    assert.ok(info.pid > 0);
    assert.equal(info.config.log_directory, join(runtime.directory, 'logs/first'));
    assert.match(await crictl.do('inspectp', '-o', 'table', first), /Ready/i);
    const again = await crictl.try(['runp', podFile('first')]);
    assert.match(again.stderr, /first/, 'a name that is taken is named');
    assert.match(await crictl.do('stopp', first), new RegExp(`Stopped sandbox ${first}`));
    await crictl.do('stopp', first);
    assert.deepEqual(await ids('--state', 'NotReady'), [first]);
    await crictl.do('rmp', first);
    const running = await crictl.try(['rmp', second]);
    assert.match(running.stderr, /running/);
    await crictl.do('rmp', '-a', '-f');
    assert.deepEqual(await ids(), []);
    assert.match((await crictl.try(['inspectp', first])).stderr, /not found|no such/i);
    const handler = await crictl.try(['runp', '--runtime', 'no-such-handler', podFile('first')]);
    assert.match(handler.stderr, /no-such-handler/);
    assert.deepEqual(await ids(), []);
  });

  test('create, start, ps, inspect, stop, rm', async () => {
    const podPath = podFile('life');
    const pod = (await crictl.do('runp', podPath)).trim();
    const path = containerFile('life', ['sh', '-c', 'trap "exit 9" TERM; while true; do sleep 0.1; done']);
    const container = (await crictl.do('create', '--no-pull', pod, path, podPath)).trim();
    const ids = async (...flags: string[]): Promise<string[]> => lines(await crictl.do('ps', '-q', ...flags)).sort();
    assert.deepEqual([await ids(), await ids('-a')], [[], [container]]);
    assert.match((await crictl.try(['exec', container, 'true'])).stderr, /not running|CREATED|created/);
    await crictl.do('start', container);
    assert.match((await crictl.try(['start', container])).stderr, /running|not created/i);
    assert.match(await crictl.do('ps'), new RegExp(`${short(container)} .*Running +life +0 +${short(pod)}`));
    for (const flags of [
      ['--name', 'li.e'],
      ['--label', 'role=life'],
      ['--pod', pod],
      ['--id', short(container)],
      ['--image', busybox],
      ['--state', 'Running'],
      ['--latest'],
      ['--last', '5'],
    ])
      assert.deepEqual(await ids(...flags), [container], flags.join(' '));
    assert.deepEqual(await ids('--state', 'Exited'), []);
    const { status, info } = await crictl.json('inspect', short(container));
    assert.deepEqual(
      [status.state, status.image.image, status.labels],
      ['CONTAINER_RUNNING', busybox, { role: 'life' }],
    );
    assert.ok(info.pid > 0 && info.runtimeSpec.process.args[0] === 'sh' && info.config.log_path === 'life.log');
    const template = '{{.status.metadata.name}} {{.info.pid}}';
    assert.equal(
      await crictl.do('inspect', '-o', 'go-template', '--template', template, container),
      `life ${info.pid}\n`,
    );
    assert.match(await crictl.do('inspect', '-o', 'table', container), /CONTAINER_RUNNING/);
    assert.match((await crictl.try(['rm', container])).stderr, /running/);
    await crictl.do('stop', '--timeout', '20', container);
    const ended = (await crictl.json('inspect', container)).status;
    assert.deepEqual([ended.state, ended.exitCode, ended.reason], ['CONTAINER_EXITED', 9, 'Error']);
    await crictl.do('stop', container);
    await crictl.do('rm', container);
    assert.match((await crictl.try(['rm', container])).stderr, /not found/i);
    assert.deepEqual(await ids('-a'), []);
    await remove(pod);
  });

  test('run makes a pod with a container, and pulls its image', async () => {
    const container = (await crictl.do('run', containerFile('ran', ['sleep', '1000']), podFile('ran'))).trim();
    const { status } = await crictl.json('inspect', container);
    assert.equal(status.state, 'CONTAINER_RUNNING');
    assert.equal(lines(await crictl.do('ps', '-q', '--name', 'ran'))[0], container);
    await crictl.do('rm', '-f', container);
    await crictl.do('rmp', '-a', '-f');
  });

  test('exec: output, errors, status, input, time limit, terminal, over both transports', async () => {
    const { pod, container } = await start('exec', ['sleep', '1000']);
    const sync = await crictl.try(['exec', '-s', container, 'sh', '-c', 'echo out; echo err >&2; exit 4']);
    assert.equal(sync.status, 1);
    assert.match(sync.stderr, /exited with 4: err/);
    assert.match((await crictl.try(['exec', '-s', '--timeout', '1', container, 'sleep', '100'])).stderr, /timed out/);
    assert.equal((await crictl.do('exec', '-s', container, 'pgrep', '-c', 'sleep')).trim(), '1');
    for (const transport of ['spdy', 'websocket']) {
      const flags = ['exec', '--transport', transport];
      assert.equal(await crictl.do(...flags, container, 'echo', 'hello'), 'hello\n');
      const failed = await crictl.try([...flags, container, 'sh', '-c', 'echo out; echo err >&2; exit 5']);
      assert.match(failed.stdout, /^out$/m);
      assert.match(failed.stderr, /^err\n.*exit code 5/s);
      const input = 'a line\n'.repeat(50_000);
      const counted = await crictl.try([...flags, '-i', container, 'wc', '-c'], { input });
      assert.equal(counted.stdout.trim(), String(input.length));
      const said = await crictl.terminal(
        [...flags, '-it', container, 'sh'],
        [
          [/# /, 'tty; stty size; echo "[$TERM]"\n'],
          [/\[xterm\]\s/, 'exit 6\n'],
        ],
      );
      assert.match(said, /\/dev\/pts\/0\r+\n33 99\r+\n\[xterm\]/);
      assert.match(said, /exit code 6/);
      assert.match((await crictl.try([...flags, container, 'no-such'])).stderr, /no-such.*executable file not found/);
    }
    assert.match((await crictl.try(['exec', 'no-such', 'ls'])).stderr, /no-such\\" not found/);
    await remove(pod);
  });

  test('attach: input of a shell, and output only', async () => {
    const shell = await start('attach', ['sh'], { stdin: true, tty: true });
    for (const transport of ['spdy', 'websocket']) {
      const said = await crictl.terminal(
        ['attach', '--transport', transport, '-it', shell.container],
        [
          [/^/, 'echo "from $((40 + 2))"\n'],
          // The keys with which one lets go and leaves it running.
          [/from 42/, '\x10\x11'],
        ],
      );
      assert.match(said, /from 42/);
    }
    assert.equal((await crictl.json('inspect', shell.container)).status.state, 'CONTAINER_RUNNING');
    await remove(shell.pod);
    const talks = await start('talks', ['sh', '-c', 'while true; do echo tick; sleep 0.1; done']);
    const attached = crictl.start('attach', talks.container);
    await pollUntil('output', () => /tick\ntick/.test(attached.said()), { timeoutMs: 10_000 });
    // It ends with its container.
    await crictl.do('stop', talks.container);
    await pollUntil('the end of attach', () => attached.child.exitCode !== null, { timeoutMs: 10_000 });
    await attached.stop();
    await remove(talks.pod);
  });

  test('port-forward, over both transports', async () => {
    const serve = 'mkdir /www && echo page > /www/index.html && exec httpd -f -p 80 -h /www';
    const { pod } = await start('serve', ['sh', '-c', serve]);
    for (const transport of ['spdy', 'websocket']) {
      const forward = crictl.start('port-forward', '--transport', transport, pod, '18080:80');
      await pollUntil('the forward', () => forward.said().includes('Forwarding from 127.0.0.1:18080'), {
        timeoutMs: 10_000,
      });
      for (let round = 0; round < 3; round++)
        assert.equal(await namespace.output(['curl', '-sS', 'http://127.0.0.1:18080/']), 'page\n');
      await forward.stop();
    }
    await remove(pod);
  });

  test('logs: all, tail, since, streams, timestamps, follow, reopen', async () => {
    const script = 'for i in 1 2 3; do echo out $i; echo err $i >&2; done; while true; do sleep 0.2; echo tick; done';
    const { pod, container } = await start('logs', ['sh', '-c', script]);
    await pollUntil('lines', async () => (await crictl.do('logs', container)).includes('tick'), { timeoutMs: 10_000 });
    const both = await crictl.try(['logs', container]);
    assert.match(both.stdout, /^out 1\nout 2\nout 3\ntick\n/);
    assert.match(both.stderr, /^err 1\nerr 2\nerr 3\n/);
    assert.equal((await crictl.try(['logs', '--stream', 'stderr', container])).stdout, '');
    assert.equal(lines(await crictl.do('logs', '--tail', '1', container)).length, 1);
    assert.match(await crictl.do('logs', '-t', container), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\S+ out 1\n/);
    assert.equal(await crictl.do('logs', '--since', '2100-01-01T00:00:00Z', container), '');
    assert.equal(await crictl.do('logs', '--limit-bytes', '3', container), 'out');
    const follow = crictl.start('logs', '-f', '--tail', '0', container);
    await pollUntil('new lines', () => lines(follow.said()).filter((one) => one === 'tick').length >= 2, {
      timeoutMs: 10_000,
    });
    await follow.stop();
    const path = join(runtime.directory, 'logs/logs/logs.log');
    const before = readFileSync(path, 'utf8').length;
    assert.ok(before > 0 && existsSync(path));
    await crictl.do('logs', '--reopen', container);
    assert.match((await crictl.try(['logs', 'no-such'])).stderr, /not found/);
    await remove(pod);
  });

  test('stats, statsp, metricsp, metricdescs', async () => {
    const { pod, container } = await start('busy', ['sh', '-c', 'while true; do :; done'], {
      linux: { resources: { memory_limit_in_bytes: 67_108_864, cpu_period: 100_000, cpu_quota: 20_000 } },
    });
    const [, row] = lines(await crictl.do('stats', '--id', short(container)));
    const [id, name, cpu] = row!.split(/\s+/);
    assert.deepEqual([id, name], [short(container), 'busy']);
    assert.ok(Number(cpu) > 5 && Number(cpu) < 40, `${cpu} % of a processor, of which it may have 20`);
    const { stats } = await crictl.json('stats', '-o', 'json');
    assert.ok(Number(stats[0].memory.workingSetBytes.value) > 0 && Number(stats[0].writableLayer.inodesUsed.value) > 0);
    for (const flags of [['--label', 'role=busy'], ['--pod', pod], ['-a']])
      assert.match(await crictl.do('stats', ...flags), new RegExp(short(container)));
    assert.match(await crictl.do('statsp', '--label', 'app=busy'), new RegExp(`busy +${short(pod)}`));
    const [podStats] = (await crictl.json('statsp', '-o', 'json', '--id', pod)).stats;
    assert.equal(podStats.linux.network.defaultInterface.name, 'eth0');
    assert.deepEqual(
      podStats.linux.containers.map((one: any) => one.attributes.id),
      [container],
    );
    const { descriptors } = await crictl.json('metricdescs');
    assert.ok(descriptors.some((one: { name: string }) => one.name === 'container_memory_working_set_bytes'));
    const { podMetrics } = await crictl.json('metricsp');
    assert.deepEqual(
      podMetrics.map((one: { podSandboxId: string }) => one.podSandboxId),
      [pod],
    );
    await crictl.do('stop', container);
    assert.equal(lines(await crictl.do('stats')).length, 1);
    await remove(pod);
  });

  test('update changes limits in place, and says what cannot be', async () => {
    const { pod, container } = await start('limits', ['sleep', '1000'], {
      linux: { resources: { memory_limit_in_bytes: 67_108_864 } },
    });
    const flags = ['--memory', '134217728', '--cpu-quota', '20000', '--cpu-period', '100000', '--cpu-share', '300'];
    await crictl.do('update', ...flags, '--cpuset-cpus', '0', container);
    const { linux } = (await crictl.json('inspect', container)).status.resources;
    assert.deepEqual(
      [linux.memoryLimitInBytes, linux.cpuQuota, linux.cpuPeriod, linux.cpuShares, linux.cpusetCpus],
      ['134217728', '20000', '100000', '300', '0'],
    );
    const bad = await crictl.try(['update', '--cpuset-cpus', '9999', container]);
    assert.match(bad.stderr, /cpuset\.cpus/);
    assert.match((await crictl.try(['update', '--memory', '1', 'no-such'])).stderr, /not found/);
    await remove(pod);
  });

  test('events tell a life in order', async () => {
    const events = crictl.start('events', '-o', 'json');
    const ready = (await crictl.do('runp', podFile('warm'))).trim();
    await pollUntil('the first event', () => events.said().includes(ready), { timeoutMs: 10_000 });
    const { pod, container } = await start('told', ['sh', '-c', 'exit 3']);
    await pollUntil('the exit', () => events.said().includes('CONTAINER_STOPPED_EVENT'), { timeoutMs: 10_000 });
    await remove(pod);
    await remove(ready);
    const told = [...events.said().matchAll(/"containerId": ?"(\w+)",\s*"containerEventType": ?"(\w+)"/g)];
    assert.deepEqual(
      told.filter(([, id]) => id === container).map(([, , type]) => type),
      ['CONTAINER_CREATED_EVENT', 'CONTAINER_STARTED_EVENT', 'CONTAINER_STOPPED_EVENT', 'CONTAINER_DELETED_EVENT'],
    );
    await events.stop();
  });

  test('checkpoint writes an archive, or says that it needs CRIU', async () => {
    const { pod, container } = await start('frozen', ['sleep', '1000']);
    const result = await crictl.try(['checkpoint', '--export', join(runtime.directory, 'checkpoint.tar'), container]);
    if (result.status === 0) assert.ok(existsSync(join(runtime.directory, 'checkpoint.tar')));
    else assert.match(result.stderr, /Unimplemented.*criu/i);
    await remove(pod);
  });
});
