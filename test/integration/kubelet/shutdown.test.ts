/** Graceful shutdown of the node: with logind's inhibitor on a message bus of its own, and without any bus. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Node, Pod } from '../../../src/api/index.ts';
import { type Clock, pollUntil, systemClock } from '../../../src/async/index.ts';
import { Logind } from '../../../src/kubelet/shutdown/logind.ts';
import { planShutdown, shutdownPeriods } from '../../../src/kubelet/shutdown/shutdown-plan.ts';
import { makePod } from '../../../src/kubelet/testing/pods.ts';
import { Cluster } from '../../support/cluster.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';
import { SystemBus } from '../../support/system-bus.ts';

const until = <T>(what: string, probe: () => Promise<T | undefined | false> | T | undefined | false) =>
  pollUntil(what, probe, { timeoutMs: 30_000, intervalMs: 50 });

describe('which pods end when', () => {
  const names = (priorities: number[], grace = 30) => {
    const pods = priorities.map((priority) =>
      makePod({ priority, terminationGracePeriodSeconds: grace }, { name: String(priority) }),
    );
    const list = [
      { priority: 100, shutdownGracePeriodSeconds: 10 },
      { priority: 10_000, shutdownGracePeriodSeconds: 20 },
      { priority: 0, shutdownGracePeriodSeconds: 60 },
    ];
    return planShutdown(shutdownPeriods(list, 0, 0), pods).map(({ priority, pods: some }) => [
      priority,
      some.map(({ pod, graceSeconds }) => `${pod.metadata.name}:${graceSeconds}`).join(' '),
    ]);
  };

  test('low priorities first, each pod with its own grace period if that is shorter', () => {
    assert.deepEqual(names([-5, 0, 99, 100, 20_000, 10_000]), [
      [0, '-5:30 0:30 99:30'],
      [100, '100:10'],
      [10_000, '20000:20 10000:20'],
    ]);
  });

  test('two periods are ordinary pods and critical ones', () => {
    assert.deepEqual(shutdownPeriods([], 30_000, 10_000), [
      { priority: 0, seconds: 20 },
      { priority: 2_000_000_000, seconds: 10 },
    ]);
    assert.deepEqual(shutdownPeriods([], 0, 0), []);
  });
});

describe('logind', () => {
  let bus: SystemBus;
  let directory: string;
  before(async () => {
    bus = await SystemBus.start();
    directory = await mkdtemp(join(tmpdir(), 'dh-logind-'));
  });
  after(async () => {
    await bus?.[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  });
  /** Between looks at what logind says now there are up to 1.6 s; here less. */
  const clock: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 50, signal) };
  const open = (neededMs: number, onShutdown: (is: boolean) => void = () => {}) =>
    Logind.open(neededMs, {
      ...{ address: bus.address, configurationDirectory: directory, clock, onShutdown },
      onEnd: () => {},
    });

  test('is made to wait as long as is needed, by a drop-in of its configuration', async () => {
    bus.delaySeconds = 5;
    bus.onReload = () => 12;
    const session = await open(12_000);
    assert.match(await readFile(join(directory, '99-kubelet.conf'), 'utf8'), /\[Login\]\nInhibitDelayMaxSec=12\n/);
    assert.ok(bus.calls.includes('KillUnit systemd-logind.service all 1'));
    assert.equal(bus.held(), 1);
    session.close();
    await until('released', () => bus.held() === 0);
  });

  test('that cannot be made to is an error that says what to do', async () => {
    bus.delaySeconds = 5;
    bus.onReload = () => 6;
    await assert.rejects(open(12_000), /logind waits for 6 s at most .* 12 s are needed: raise it in logind.conf/);
    assert.equal(bus.held(), 0);
  });

  test('a bus that is not there is an error', async () => {
    const options = { configurationDirectory: directory, clock: systemClock, onShutdown: () => {}, onEnd: () => {} };
    await assert.rejects(Logind.open(1, { address: 'unix:path=/nowhere/bus', ...options }), { code: 'ENOENT' });
    await assert.rejects(Logind.open(1, { address: 'tcp:host=a', ...options }), /is not the address of a bus/);
  });
});

describe('a node that is shut down', () => {
  let bus: SystemBus;
  let cluster: Cluster;
  let registry: DemoRegistry;

  before(async () => {
    bus = await SystemBus.start();
    cluster = await Cluster.create('kshut');
    const fields = { shutdownGracePeriod: '20s', shutdownGracePeriodCriticalPods: '10s' };
    await cluster.up(['--place', 'kubelet=process', ...(await cluster.kubeletConfig(fields))], {
      DBUS_SYSTEM_BUS_ADDRESS: bus.address,
    });
    registry = await DemoRegistry.start(cluster.namespace);
  });
  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
    await bus?.[Symbol.asyncDispose]();
  });

  const apply = (name: string, spec: object, note: string) =>
    cluster.kubectl(['apply', '-f', '-'], {
      input: JSON.stringify({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name, namespace: 'kube-system' },
        spec: {
          terminationGracePeriodSeconds: 5,
          volumes: [{ name: 'share', hostPath: { path: cluster.dataDirectory } }],
          containers: [
            {
              name: 'main',
              image: registry.image('v1'),
              command: ['sh', '-c', `trap "echo ${note} >> /share/order; exit 0" TERM; sleep 3600 & wait`],
              volumeMounts: [{ name: 'share', mountPath: '/share' }],
            },
          ],
          ...spec,
        },
      }),
    });
  const pod = (name: string): Promise<Pod> => cluster.get('-n', 'kube-system', 'pod', name);
  const node = (): Promise<Node> => cluster.get('node', 'node-1');
  const ready = (one: { status?: { conditions?: { type: string; status: string; message?: string }[] } }) =>
    one.status?.conditions?.find(({ type }) => type === 'Ready');

  test('its pods end by priority, it is not ready and takes no more, and the shutdown goes on when they have ended', async () => {
    await until('an inhibitor', () => bus.held() === 1);
    await apply('critical', { priorityClassName: 'system-node-critical' }, 'critical');
    await apply('ordinary', {}, 'ordinary');
    for (const name of ['critical', 'ordinary'])
      await until(`${name} ready`, async () => ready(await pod(name))?.status === 'True');

    bus.prepareForShutdown(true);
    await until('not ready', async () => ready(await node())?.message === 'node is shutting down');
    await until('released', () => bus.held() === 0);
    const order = await readFile(join(cluster.dataDirectory, 'order'), 'utf8');
    assert.deepEqual(order.trim().split('\n'), ['ordinary', 'critical']);
    const ended = await until('failed', async () => {
      const one = await pod('ordinary');
      return one.status?.phase === 'Failed' && one;
    });
    assert.equal(ended.status?.reason, 'Terminated');
    assert.equal(ended.status?.message, 'Pod was terminated in response to imminent node shutdown.');
    const disruption = ended.status?.conditions?.find(({ type }) => type === 'DisruptionTarget');
    assert.deepEqual([disruption?.status, disruption?.reason], ['True', 'TerminationByKubelet']);
    const state = JSON.parse(
      await readFile(join(cluster.dataDirectory, 'kubelet/graceful_node_shutdown_state'), 'utf8'),
    );
    assert.ok(Date.parse(state.endTime) >= Date.parse(state.startTime));

    await apply('late', { nodeName: 'node-1' }, 'late');
    const late = await until('refused', async () => {
      const one = await pod('late');
      return one.status?.phase === 'Failed' && one;
    });
    assert.equal(late.status?.reason, 'NodeShutdown');

    bus.prepareForShutdown(false);
    await until('an inhibitor again', () => bus.held() === 1);
    await until('ready again', async () => ready(await node())?.status === 'True');
    const events = await cluster.get('events', '--field-selector', 'reason=NodeShutdown', '-A');
    assert.ok(events.items.some(({ message }: { message: string }) => /detected shutdown event/.test(message)));
  });
});
