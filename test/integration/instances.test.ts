/** Instances of `deckhand up`: side by side, placed in other ways, killed, and looked at through the command line. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { pollUntil } from '../../src/async/index.ts';
import { Cluster } from '../support/cluster.ts';
import { FaultyRegistry } from '../support/faulty-registry.ts';
import { busyboxEntries, dockerArchiveFiles, makeImage, makeLayer, packFiles } from '../support/images.ts';
import { sleeperManifest } from '../support/manifests.ts';
import { run } from '../support/processes.ts';

const imageName = 'example.test/sleeper:v1';

/** A docker-archive with a small image that can sleep and serve. */
async function writeArchive(directory: string): Promise<string> {
  const layer = makeLayer(await busyboxEntries(['sh', 'sleep', 'echo', 'httpd', 'cat']));
  const image = makeImage([layer], { config: { Env: ['PATH=/bin'], Cmd: ['sleep', '100000'] } });
  const file = join(directory, 'image.tar');
  await writeFile(file, packFiles(dockerArchiveFiles([{ image, names: [imageName] }])));
  return file;
}

async function importImage(cluster: Cluster): Promise<string> {
  const file = await writeArchive(cluster.dataDirectory);
  const { status, stdout, stderr } = await cluster.deckhand([
    'image',
    'import',
    file,
    '--data-dir',
    cluster.dataDirectory,
  ]);
  assert.equal(status, 0, stderr);
  return stdout;
}

/** Runs a pod of the imported image until it is Ready; gives its container's id. */
async function runPod(cluster: Cluster, name: string): Promise<string> {
  await cluster.kubectl(['apply', '-f', '-'], { input: sleeperManifest(name, imageName) });
  await cluster.kubectl(['wait', '--for=condition=Ready', `pod/${name}`, '--timeout=30s']);
  return containerOf(cluster, name);
}

async function containerOf(cluster: Cluster, name: string): Promise<string> {
  return (await cluster.get('pod', name)).status.containerStatuses[0].containerID;
}

/** Nothing of the instance is left on the machine: mounts, links, rules, processes, cgroups. */
async function assertNothingLeft(cluster: Cluster): Promise<void> {
  const mounts = await readFile('/proc/self/mounts', 'utf8');
  assert.deepEqual(
    mounts.split('\n').filter((line) => line.includes(cluster.dataDirectory)),
    [],
  );
  const links = (await cluster.namespace.output(['ip', '-o', 'link'])).trim().split('\n');
  assert.equal(links.length, 1, links.join('\n'));
  assert.equal(await cluster.namespace.output(['nft', 'list', 'ruleset']), '');
  assert.equal((await run(['pgrep', '-f', cluster.dataDirectory])).stdout, '');
  const cgroup = `deckhand-${cluster.dataDirectory.slice(1).replaceAll(/[^A-Za-z0-9.]+/g, '-')}`;
  assert.equal((await run(['find', '/sys/fs/cgroup', '-type', 'd', '-name', cgroup])).stdout, '');
}

/** The supervisor and the launcher that would start it again, from the instance's record. */
async function processes(cluster: Cluster): Promise<{ pid: number; launcher: number | undefined }> {
  const record = JSON.parse(await readFile(join(cluster.dataDirectory, 'instance.json'), 'utf8'));
  return { pid: record.pid, launcher: record.launcher?.pid };
}

test('two clusters side by side do not disturb each other', async () => {
  await using one = await Cluster.start('one');
  const bothFamilies = ['--pod-cidr', '10.244.0.0/24,fd00:244::/64'];
  await using two = await Cluster.start('two', ['--proxy-mode', 'iptables', ...bothFamilies]);
  await Promise.all([importImage(one), importImage(two)]);
  const [first] = await Promise.all([runPod(one, 'first'), runPod(two, 'second')]);
  const { podIPs } = (await two.get('pod', 'second')).status;
  assert.match(podIPs.map(({ ip }: { ip: string }) => ip).join(), /^10\.244\.0\.\d+,fd00:244::[\da-f]+$/);
  await two.namespace.output(['ping', '-c1', '-W2', podIPs[1].ip]);
  assert.deepEqual(
    (await one.get<{ items: any[] }>('pods')).items.map(({ metadata }) => metadata.name),
    ['first'],
  );
  assert.deepEqual(
    (await two.get<{ items: any[] }>('pods')).items.map(({ metadata }) => metadata.name),
    ['second'],
  );
  await two.down();
  assert.equal((await two.namespace.output(['ip', '-o', 'link'])).trim().split('\n').length, 1);
  assert.equal(await containerOf(one, 'first'), first);
  assert.equal(await one.kubectl(['exec', 'first', '--', 'echo', 'here']), 'here\n');
  await runPod(one, 'third');
  await one.down();
  await assertNothingLeft(one);
});

for (const place of ['inline', 'thread', 'process'] as const) {
  test(`everything placed ${place}: a pod becomes Ready, down leaves nothing`, async () => {
    await using cluster = await Cluster.start(place, ['--place', `all=${place}`]);
    const { components, node } = await cluster.status();
    assert.ok(node.ready);
    assert.deepEqual(new Set(components.map((one) => `${one.place} ${one.state}`)), new Set([`${place} running`]));
    assert.equal(new Set(components.map(({ pid }) => pid)).size, place === 'process' ? components.length : 1);
    await importImage(cluster);
    await runPod(cluster, 'placed');
    assert.equal(await cluster.kubectl(['exec', 'placed', '--', 'echo', 'here']), 'here\n');
    await cluster.down();
    await assertNothingLeft(cluster);
  });
}

/** What is mounted for the state of an instance's runtime: source, type and options, one line each. */
async function stateMounts(cluster: Cluster): Promise<string[]> {
  const path = join(cluster.dataDirectory, 'runtime/state');
  const lines = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' '));
  return lines
    .filter(([, target]) => target === path)
    .map(([source, , type, options]) => `${source} ${type} ${options}`);
}

test('the runtime’s state is in memory: for kept pods too, and gone with them', async () => {
  await using cluster = await Cluster.start('state');
  const [mounted, ...more] = await stateMounts(cluster);
  assert.match(mounted!, /^deckhand-state tmpfs rw,nosuid,nodev,.*size=65536k,mode=711/);
  assert.deepEqual(more, []);
  await cluster.down(['--keep-pods']);
  assert.deepEqual(await stateMounts(cluster), [], 'no pods, nothing is kept');
  await cluster.up();
  await importImage(cluster);
  const before = await runPod(cluster, 'kept');
  await cluster.down(['--keep-pods']);
  assert.deepEqual(await stateMounts(cluster), [mounted]);
  await cluster.up();
  assert.deepEqual(await stateMounts(cluster), [mounted], 'the same, not another one above it');
  assert.equal(await containerOf(cluster, 'kept'), before);
  assert.equal(await cluster.kubectl(['exec', 'kept', '--', 'echo', 'here']), 'here\n');
  await cluster.down();
  await assertNothingLeft(cluster);
});

describe('kill -9', () => {
  test('the launcher starts a killed supervisor again, which adopts the pods', async () => {
    await using cluster = await Cluster.start('killed');
    await importImage(cluster);
    const before = await runPod(cluster, 'kept');
    const { pid } = await processes(cluster);
    process.kill(pid, 'SIGKILL');
    await pollUntil(
      'a new supervisor',
      async () => {
        const status = await cluster.status().catch(() => undefined);
        return status?.node?.ready && (await processes(cluster)).pid !== pid;
      },
      { timeoutMs: 30_000, intervalMs: 100 },
    );
    // The node was Ready all the time for the API server; the new kubelet needs a moment to know its pods.
    await pollUntil(
      'exec works again',
      async () => (await cluster.tryKubectl(['exec', 'kept', '--', 'echo', 'here'])).stdout === 'here\n',
      { timeoutMs: 15_000, intervalMs: 100 },
    );
    assert.equal(await containerOf(cluster, 'kept'), before);
    await cluster.down();
    await assertNothingLeft(cluster);
  });

  test('with its launcher: pods keep serving, up adopts them; down after another kill cleans up', async () => {
    await using cluster = await Cluster.start('dead');
    await importImage(cluster);
    const manifest = sleeperManifest('kept', imageName).replace(
      'command: [sleep, "100000"]',
      'command: [sh, -c, "echo still here > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"]',
    );
    await cluster.kubectl(['apply', '-f', '-'], { input: manifest });
    await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/kept', '--timeout=30s']);
    const { podIP } = (await cluster.get('pod', 'kept')).status;
    const before = await containerOf(cluster, 'kept');
    const kill = async () => {
      const { pid, launcher } = await processes(cluster);
      for (const one of [launcher, pid]) if (one) process.kill(one, 'SIGKILL');
    };
    const ask = () => cluster.namespace.output(['busybox', 'wget', '-q', '-O', '-', `http://${podIP}:8080/`]);
    await kill();
    assert.equal(await ask(), 'still here\n');
    await cluster.up();
    assert.equal(await containerOf(cluster, 'kept'), before);
    await kill();
    assert.equal(await ask(), 'still here\n');
    const { stdout } = await cluster.deckhand(['down', '--data-dir', cluster.dataDirectory]);
    assert.match(stdout, /the supervisor had died; what it left was taken away/);
    await assertNothingLeft(cluster);
  });
});

describe('the command line', () => {
  test('status as text and as JSON, and images', async () => {
    await using cluster = await Cluster.start('looked');
    await using registry = await FaultyRegistry.start(cluster.namespace);
    const deckhand = async (...argv: string[]): Promise<string> => {
      const { status, stdout, stderr } = await cluster.deckhand([...argv, '--data-dir', cluster.dataDirectory]);
      assert.equal(status, 0, stderr);
      return stdout;
    };
    assert.match(await importImage(cluster), /^sha256:[0-9a-f]{64} example\.test\/sleeper:v1/m);
    assert.match(await deckhand('image', 'pull', registry.image('good')), /^sha256:[0-9a-f]{64}$/m);
    const listed = await deckhand('image', 'ls');
    assert.match(listed, /^IMAGE +ID +SIZE$/m);
    assert.match(listed, /^example\.test\/sleeper:v1 +[0-9a-f]{12} +\d+\.\d MB$/m);
    assert.ok(listed.includes(registry.image('good')), listed);
    await deckhand('image', 'rm', registry.image('good'));
    assert.ok(!(await deckhand('image', 'ls')).includes(registry.image('good')));
    const gone = await cluster.deckhand(['image', 'rm', 'no/such:v1', '--data-dir', cluster.dataDirectory]);
    assert.deepEqual([gone.status, gone.stderr], [1, 'deckhand: there is no image no/such:v1 on the node\n']);
    await runPod(cluster, 'shown');
    await cluster.kubectl(['expose', 'pod', 'shown', '--port=80', '--target-port=8080', '--selector=a=b']);
    const text = await deckhand('status');
    assert.match(text, /^COMPONENT +STATE +PLACE +PID +MEMORY +RESTARTS$/m);
    assert.match(text, /^NODE node-1 Ready /m);
    assert.match(text, /^default\/shown +1\/1 +Running +0 +10\.244\.0\.\d+$/m);
    const report = JSON.parse(await deckhand('status', '-o', 'json'));
    assert.equal(report.running, true);
    assert.equal(report.components.length, 7);
    assert.deepEqual(
      report.pods.map(({ name, phase }: any) => [name, phase]),
      [['shown', 'Running']],
    );
    assert.ok(report.services.some(({ name }: any) => name === 'shown'));
    await cluster.down();
    const after = await cluster.deckhand(['status', '--data-dir', cluster.dataDirectory]);
    assert.deepEqual(
      [after.status, after.stderr],
      [1, `deckhand: nothing runs with data directory ${cluster.dataDirectory}\n`],
    );
  });

  test('an archive that is none', async () => {
    await using cluster = await Cluster.start('archive');
    const directory = await mkdtemp(join(tmpdir(), 'dh-archive-'));
    try {
      await writeFile(join(directory, 'x.tar'), 'no archive at all');
      const result = await cluster.deckhand([
        'image',
        'import',
        join(directory, 'x.tar'),
        '--data-dir',
        cluster.dataDirectory,
      ]);
      assert.equal(result.status, 1);
      assert.match(result.stderr, /^deckhand: .+\n$/);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
});
