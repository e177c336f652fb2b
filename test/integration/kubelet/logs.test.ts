/** Logs: rotation on the node, every option of kubectl logs, and following through rotations. */
import assert from 'node:assert/strict';
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { pollUntil } from '../../../src/async/index.ts';
import { Cluster } from '../../support/cluster.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';
import { KubeletSuite } from '../../support/kubelet-suite.ts';
import { start } from '../../support/processes.ts';

const maximumFiles = 3;
const maximumSize = 64 * 1024;

describe('container logs', { concurrency: 6 }, () => {
  let cluster: Cluster;
  let registry: DemoRegistry;
  let suite: KubeletSuite;

  before(async () => {
    cluster = await Cluster.withKubelet('klogs', {
      containerLogMaxSize: '64Ki',
      containerLogMaxFiles: maximumFiles,
      containerLogMaxWorkers: 2,
      containerLogMonitorInterval: '3s',
    });
    registry = await DemoRegistry.start(cluster.namespace);
    suite = new KubeletSuite(cluster, registry.image('v1'));
  });
  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  const script = (name: string, text: string, more: object = {}, spec: object = {}) =>
    suite.pod(name, { container: { command: ['sh', '-c', text], ...more }, spec });
  const logs = (...argv: string[]) => cluster.kubectl(['logs', ...argv]);
  const phase = async (name: string) => (await cluster.get('pod', name)).status?.phase;
  const until = (what: string, holds: () => Promise<unknown>) =>
    pollUntil(what, holds, { timeoutMs: 40_000, intervalMs: 200 });
  /** The directory of a container's log files. */
  async function logDirectory(pod: string): Promise<string> {
    const { uid } = (await cluster.get('pod', pod)).metadata;
    return join(cluster.dataDirectory, 'logs/pods', `default_${pod}_${uid}`, 'main');
  }
  /** Numbers lines until it is told to end; each line has 100 bytes. */
  const counting = (lines: number, pause: string) =>
    `i=0; while [ $i -lt ${lines} ]; do echo "line $i ${'x'.repeat(80)}"; i=$((i+1)); ${pause} done`;
  const numbers = (text: string) => [...text.matchAll(/^line (\d+) x+$/gm)].map(([, number]) => Number(number));

  test('a log that is followed through rotations misses no line and doubles none', async () => {
    const total = 6000;
    const pause = 'if [ $((i % 60)) = 0 ]; then sleep 0.1; fi;';
    await suite.apply(script('busy', `${counting(total, pause)}; sleep 3600`));
    await suite.ready('busy');
    const follower = start([...cluster.namespace.enter(), 'kubectl', 'logs', '-f', 'busy'], {
      KUBECONFIG: join(cluster.dataDirectory, 'admin.conf'),
    });
    let text = '';
    follower.stdout!.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    try {
      await until('the last line', async () => text.includes(`line ${total - 1} `));
    } finally {
      follower.kill();
    }
    assert.deepEqual(
      numbers(text),
      Array.from({ length: total }, (_, i) => i),
    );
    const names = await readdir(await logDirectory('busy'));
    assert.ok(
      names.some((name) => name.startsWith('0.log.')),
      `it was rotated: ${names}`,
    );
  });

  test('rotated files are named by time, compressed but for the last, and no more than may be', async () => {
    const pause = 'if [ $((i % 400)) = 0 ]; then sleep 0.7; fi;';
    await suite.apply(script('turns', `${counting(8000, pause)}; sleep 3600`));
    await suite.ready('turns');
    const directory = await logDirectory('turns');
    const files = async () => (await readdir(directory)).filter((name) => !name.endsWith('.tmp')).sort();
    await until('a compressed file', async () => (await files()).some((name) => name.endsWith('.gz')));
    await until('enough rotations', async () => (await files()).length === maximumFiles);
    const seen = await files();
    assert.ok(seen.length <= maximumFiles, seen.join());
    for (const name of seen) assert.match(name, /^0\.log(\.\d{8}-\d{6}(\.gz)?)?$/);
    const compressed = seen.find((name) => name.endsWith('.gz'));
    if (compressed) {
      const content = gunzipSync(await readFile(join(directory, compressed)));
      assert.match(content.toString('latin1', 0, 60), /^\d{4}-.* stdout F line \d+ x/);
      assert.ok(content.length >= maximumSize);
    }
    const link = (await readdir(join(cluster.dataDirectory, 'logs/containers'))).find((name) =>
      name.startsWith('turns_default_main-'),
    );
    assert.equal(await readlink(join(cluster.dataDirectory, 'logs/containers', link!)), join(directory, '0.log'));
    await suite.remove('pod/turns');
    await until('no file is left', async () => !(await stat(directory).catch(() => undefined)));
  });

  test('what was rotated away and is still there is read too, oldest first', async () => {
    await suite.apply(script('twice', `${counting(900, '')}; sleep 5; echo "line 900 ${'x'.repeat(80)}"; sleep 3600`));
    await suite.ready('twice');
    await until('the line after the rotation', async () => (await logs('twice', '--tail=1')).startsWith('line 900'));
    assert.deepEqual(
      numbers(await logs('twice')),
      Array.from({ length: 901 }, (_, i) => i),
    );
    assert.deepEqual(numbers(await logs('twice', '--tail=3')), [898, 899, 900]);
    assert.equal((await logs('twice', '--limit-bytes=6')).trim(), 'line 0');
  });

  test('every option of kubectl logs', async () => {
    const first = script(
      'options',
      'echo err >&2; sleep 0.3; echo out; echo -n unfinished',
      {},
      { restartPolicy: 'Never' },
    ) as any;
    first.spec.initContainers = [{ name: 'before', image: suite.image, command: ['sh', '-c', 'echo from init'] }];
    first.spec.containers.push({ name: 'side', image: suite.image, command: ['sh', '-c', 'echo aside'] });
    await suite.apply(first);
    await until('Succeeded', async () => (await phase('options')) === 'Succeeded');
    const all = await logs('options', '-c', 'main');
    assert.equal(all, 'err\nout\nunfinished');
    assert.equal(await logs('options', '-c', 'before'), 'from init\n');
    assert.equal(await logs('options', '-c', 'main', '--tail=0'), '');
    const stamped = await logs('options', '-c', 'main', '--timestamps');
    for (const line of stamped.trim().split('\n')) assert.match(line, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z /);
    assert.equal(await logs('options', '-c', 'main', '--since-time=2100-01-01T00:00:00Z'), '');
    assert.equal(await logs('options', '-c', 'main', '--since-time=2020-01-01T00:00:00Z'), all);
    assert.equal(await logs('options', '-c', 'main', '--since=1h'), all);
    const both = await logs('options', '--all-containers', '--prefix');
    for (const line of ['[pod/options/before] from init', '[pod/options/main] out', '[pod/options/side] aside'])
      assert.ok(both.includes(line), both);
    const raw = (query: string) =>
      cluster.kubectl(['get', '--raw', `/api/v1/nodes/node-1/proxy/containerLogs/default/options/main?${query}`]);
    assert.equal(await raw('stream=Stderr'), 'err\n');
    assert.match(await raw('stream=Stdout'), /^out\n/);
    assert.equal(await raw('tail=all'), all);
  });

  test('the log of the container before a restart', async () => {
    const text = 'if [ -e /share/again ]; then echo second; sleep 3600; fi; touch /share/again; echo first; exit 1';
    const pod = script('again', text) as any;
    pod.spec.volumes = [{ name: 'share', emptyDir: {} }];
    pod.spec.containers[0].volumeMounts = [{ name: 'share', mountPath: '/share' }];
    await suite.apply(pod);
    await until('the second', async () => (await logs('again').catch(() => '')) === 'second\n');
    assert.equal(await logs('again', '--previous'), 'first\n');
  });

  test('following ends with the container, and with the pod', async () => {
    await suite.apply(script('brief', 'echo begin; sleep 2; echo end', {}, { restartPolicy: 'Never' }));
    await until('it runs', async () => (await phase('brief')) !== 'Pending');
    assert.equal(await logs('-f', 'brief'), 'begin\nend\n');
    await suite.apply(script('deleted', 'echo begin; trap "echo bye; exit 0" TERM; sleep 3600 & wait'));
    await suite.ready('deleted');
    const following = logs('-f', 'deleted');
    await suite.remove('pod/deleted');
    assert.equal(await following, 'begin\nbye\n');
  });

  test('a container that has not started has no log, and says why', async () => {
    await suite.apply(suite.pod('later', { container: { image: 'example.test/none:1', imagePullPolicy: 'Never' } }));
    await suite.untilEvent('later', /ErrImageNeverPull/);
    const { stderr } = await cluster.tryKubectl(['logs', 'later']);
    assert.match(stderr, /container "main" in pod "later" is waiting to start: ErrImageNeverPull/);
    assert.match(
      (await cluster.tryKubectl(['logs', 'later', '-p'])).stderr,
      /previous terminated container "main" in pod "later" not found/,
    );
  });

  test('a log whose new file the kubelet could not have opened is opened after its restart', async () => {
    await suite.apply(script('cut', 'while true; do echo tick; sleep 0.2; done'));
    await suite.ready('cut');
    const directory = await logDirectory('cut');
    const { rename } = await import('node:fs/promises');
    // As if the kubelet had been killed between moving the log and telling the runtime.
    await rename(join(directory, '0.log'), join(directory, '0.log.20200101-000000'));
    await until('a new file', async () => (await stat(join(directory, '0.log')).catch(() => undefined))?.size);
    assert.match(await logs('cut', '--tail=1'), /^tick\n$/);
  });
});
