/** The lives of pods on a whole node: order, restarts, failures, probes, deletion, static pods, a killed kubelet. */
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Pod } from '../../../src/api/index.ts';
import { pollUntil } from '../../../src/async/index.ts';
import { Cluster } from '../../support/cluster.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';

const waitsForEnd = ['sh', '-c', 'trap "exit 0" TERM; sleep 3600 & wait'];

describe('pods on a node', () => {
  let cluster: Cluster;
  let registry: DemoRegistry;
  let image: string;

  before(async () => {
    cluster = await Cluster.start('kpods', ['--place', 'kubelet=process']);
    registry = await DemoRegistry.start(cluster.namespace);
    image = registry.image('v1');
  });
  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  const apply = (name: string, spec: object) =>
    cluster.kubectl(['apply', '-f', '-'], {
      input: JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec }),
    });
  const get = (name: string): Promise<Pod> => cluster.get('pod', name);
  const until = (what: string, name: string, holds: (pod: Pod) => boolean): Promise<Pod> =>
    pollUntil(
      `${name}: ${what}`,
      async () => {
        const pod = await get(name).catch(() => undefined);
        return pod && holds(pod) ? pod : undefined;
      },
      { timeoutMs: 30_000, intervalMs: 100 },
    );
  const main = (pod: Pod) => pod.status?.containerStatuses?.[0];
  const waitingFor = (reason: string) => (pod: Pod) => main(pod)?.state?.waiting?.reason === reason;
  const isReady = (pod: Pod) =>
    pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
  const container = (more: object = {}) => ({ name: 'main', image, command: waitsForEnd, ...more });
  const remove = (...names: string[]) => cluster.kubectl(['delete', 'pod', '--wait=true', ...names]);

  test('init containers run in order, then sidecars keep running beside the apps and end after them', async () => {
    const log = (text: string) => `echo ${text} >> /share/log`;
    const volumeMounts = [{ name: 'share', mountPath: '/share' }];
    const quiet = `trap "${log('sidecar-ended')}; exit 0" TERM; ${log('sidecar')}; touch /share/up; while true; do sleep 0.1; done`;
    await apply('order', {
      terminationGracePeriodSeconds: 10,
      volumes: [{ name: 'share', emptyDir: {} }],
      initContainers: [
        { name: 'one', image, command: ['sh', '-c', log('one')], volumeMounts },
        {
          name: 'side',
          image,
          restartPolicy: 'Always',
          command: ['sh', '-c', quiet],
          volumeMounts,
          startupProbe: { exec: { command: ['test', '-e', '/share/up'] } },
        },
        { name: 'two', image, command: ['sh', '-c', log('two')], volumeMounts },
      ],
      containers: [
        container({ command: ['sh', '-c', `${log('app')}; trap "exit 0" TERM; sleep 3600 & wait`], volumeMounts }),
      ],
    });
    const pod = await until('Ready', 'order', isReady);
    assert.equal(
      await cluster.kubectl(['exec', 'order', '-c', 'main', '--', 'cat', '/share/log']),
      'one\nsidecar\ntwo\napp\n',
    );
    assert.deepEqual(
      pod.status?.initContainerStatuses?.map(({ ready }) => ready),
      [true, true, true],
    );
    await remove('order');
  });

  test('pods that end by themselves become Succeeded or Failed, with exit code and message', async () => {
    const ending = (script: string) => ({
      restartPolicy: 'Never',
      containers: [container({ command: ['sh', '-c', script] })],
    });
    await apply('good', ending('exit 0'));
    await apply('bad', ending('echo sorry > /dev/termination-log; exit 3'));
    await apply('late', { ...ending('sleep 3600'), activeDeadlineSeconds: 1, terminationGracePeriodSeconds: 1 });
    await until('Succeeded', 'good', ({ status }) => status?.phase === 'Succeeded');
    const bad = await until('Failed', 'bad', ({ status }) => status?.phase === 'Failed');
    const end = main(bad)?.state?.terminated;
    assert.deepEqual([end?.exitCode, end?.reason, end?.message], [3, 'Error', 'sorry\n']);
    const late = await until('Failed', 'late', ({ status }) => status?.phase === 'Failed');
    assert.equal(late.status?.reason, 'DeadlineExceeded');
    await remove('good', 'bad', 'late');
  });

  test('what cannot start says why, and starts once it can', async () => {
    await apply('noimage', { containers: [container({ image: image.replace(/:[^:]*$/, ':none') })] });
    await apply('badname', { containers: [container({ image: 'No/Such' })] });
    await apply('never', { containers: [container({ image: 'example.test/never:1', imagePullPolicy: 'Never' })] });
    await apply('nokey', {
      containers: [container({ env: [{ name: 'X', valueFrom: { configMapKeyRef: { name: 'later', key: 'x' } } }] })],
    });
    await apply('nomap', {
      containers: [container({ volumeMounts: [{ name: 'v', mountPath: '/v' }] })],
      volumes: [{ name: 'v', configMap: { name: 'later' } }],
    });
    await apply('nocommand', { containers: [container({ command: ['no-such-command'] })] });
    await until('pull back-off', 'noimage', waitingFor('ImagePullBackOff'));
    await until('bad name', 'badname', waitingFor('InvalidImageName'));
    await until('never', 'never', waitingFor('ErrImageNeverPull'));
    await until('config error', 'nokey', waitingFor('CreateContainerConfigError'));
    const failed = await until('start error', 'nocommand', (pod) => main(pod)?.lastState?.terminated !== undefined);
    assert.ok([127, 128].includes(main(failed)!.lastState!.terminated!.exitCode));
    const waiting = await until('waiting', 'nomap', waitingFor('ContainerCreating'));
    assert.equal(waiting.status?.conditions?.find(({ type }) => type === 'PodReadyToStartContainers')?.status, 'False');
    await cluster.kubectl(['create', 'configmap', 'later', '--from-literal=x=1']);
    await until('Ready', 'nokey', isReady);
    await until('Ready', 'nomap', isReady);
    const events = await cluster.kubectl(['get', 'events', '-o', 'jsonpath={range .items[*]}{.reason} {end}']);
    for (const reason of [
      'Pulling',
      'BackOff',
      'Failed',
      'FailedMount',
      'InspectFailed',
      'ErrImageNeverPull',
      'Created',
      'Started',
    ]) {
      assert.match(events, new RegExp(`\\b${reason}\\b`));
    }
    await remove('noimage', 'badname', 'never', 'nokey', 'nomap', 'nocommand', '--grace-period=1');
  });

  test('a crash is restarted at once, then with back-off; memory over the limit is OOMKilled', async () => {
    await apply('crash', { containers: [container({ command: ['sh', '-c', 'exit 7'] })] });
    await apply('hungry', {
      containers: [
        container({ command: ['sh', '-c', 'exec tail /dev/zero'], resources: { limits: { memory: '24Mi' } } }),
      ],
    });
    const crash = await until(
      'crash loop',
      'crash',
      (pod) => waitingFor('CrashLoopBackOff')(pod) && main(pod)!.restartCount >= 1,
    );
    assert.equal(main(crash)?.lastState?.terminated?.exitCode, 7);
    assert.match(
      main(crash)!.state!.waiting!.message!,
      /^back-off 10s restarting failed container=main pod=crash_default\(/,
    );
    const hungry = await until(
      'OOMKilled',
      'hungry',
      (pod) => main(pod)?.lastState?.terminated?.reason === 'OOMKilled',
    );
    assert.equal(main(hungry)?.lastState?.terminated?.exitCode, 137);
    await remove('crash', 'hungry', '--grace-period=1');
  });

  test('readiness follows its probe; a failing liveness probe restarts', async () => {
    const probe = { exec: { command: ['test', '-e', '/tmp/ok'] }, periodSeconds: 1, failureThreshold: 1 };
    await apply('probed', { terminationGracePeriodSeconds: 1, containers: [container({ readinessProbe: probe })] });
    await until('Running', 'probed', (pod) => main(pod)?.state?.running !== undefined);
    assert.equal(isReady(await get('probed')), false);
    await cluster.kubectl(['exec', 'probed', '--', 'sh', '-c', 'mkdir -p /tmp; touch /tmp/ok']);
    await until('Ready', 'probed', isReady);
    await cluster.kubectl(['exec', 'probed', '--', 'rm', '/tmp/ok']);
    await until('not Ready', 'probed', (pod) => !isReady(pod));
    await apply('live', {
      terminationGracePeriodSeconds: 1,
      containers: [container({ livenessProbe: { tcpSocket: { port: 81 }, periodSeconds: 1, failureThreshold: 2 } })],
    });
    await until('restarted', 'live', (pod) => (main(pod)?.restartCount ?? 0) >= 1);
    await remove('probed', 'live');
  });

  test('a pod is deleted within its grace period, hooks first, and a shorter period is honoured', async () => {
    const stubborn = ['sh', '-c', 'trap "" TERM; while true; do sleep 0.1; done'];
    await apply('stubborn', { terminationGracePeriodSeconds: 600, containers: [container({ command: stubborn })] });
    await until('Ready', 'stubborn', isReady);
    await cluster.kubectl(['delete', 'pod', 'stubborn', '--wait=false']);
    await until('being deleted', 'stubborn', ({ metadata }) => metadata.deletionTimestamp !== undefined);
    await cluster.kubectl(['delete', 'pod', 'stubborn', '--grace-period=1', '--timeout=20s']);
    assert.equal((await cluster.tryKubectl(['get', 'pod', 'stubborn'])).status, 1);
  });

  test('a killed kubelet restarts nothing and keeps pods Ready', async () => {
    const readinessProbe = { exec: { command: ['true'] }, periodSeconds: 2 };
    await apply('steady', { terminationGracePeriodSeconds: 1, containers: [container({ readinessProbe })] });
    const first = await until('Ready', 'steady', isReady);
    const pid = await cluster.pidOf('kubelet');
    process.kill(pid, 'SIGKILL');
    await pollUntil(
      'another kubelet',
      async () => {
        const now = await cluster.pidOf('kubelet').catch(() => 0);
        return now > 0 && now !== pid;
      },
      { timeoutMs: 20_000 },
    );
    await cluster.kubectl(['exec', 'steady', '--', 'true']).catch(() => '');
    const then = await until('Ready', 'steady', isReady);
    const ready = (pod: Pod) => pod.status!.conditions!.find(({ type }) => type === 'Ready')!.lastTransitionTime;
    assert.equal(main(then)?.containerID, main(first)?.containerID);
    assert.equal(main(then)?.restartCount, 0);
    assert.equal(ready(then), ready(first), 'readiness did not flap');
    await apply('after', { terminationGracePeriodSeconds: 1, containers: [container()] });
    await until('Ready', 'after', isReady);
    await remove('steady', 'after');
  });

  test('a static pod has a mirror, which comes back when deleted and goes with its manifest', async () => {
    const file = join(cluster.dataDirectory, 'manifests', 'static.json');
    const manifest = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'static' },
      spec: { terminationGracePeriodSeconds: 1, containers: [container({ imagePullPolicy: 'IfNotPresent' })] },
    };
    await writeFile(join(cluster.dataDirectory, 'manifests', 'broken.yaml'), 'kind: Pod\nspec: [');
    await writeFile(file, JSON.stringify(manifest));
    const node = (await cluster.get('nodes')).items[0].metadata.name;
    const name = `static-${node}`;
    const mirror = await until('Ready', name, isReady);
    await cluster.kubectl(['delete', 'pod', name, '--wait=false']);
    const again = await until('drawn anew', name, (pod) => pod.metadata.uid !== mirror.metadata.uid && isReady(pod));
    assert.equal(main(again)?.containerID, main(mirror)?.containerID, 'the container went on');
    await rm(file);
    await pollUntil('no mirror', async () => (await cluster.tryKubectl(['get', 'pod', name])).status !== 0, {
      timeoutMs: 20_000,
    });
  });
});
