/** Which pods a node takes, and what it says of those that it does not: pods that name their node, past the scheduler. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Pod, PodSpec } from '../../../src/api/index.ts';
import { Cluster } from '../../support/cluster.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';
import { conditionOf, isReady, PodDriver } from '../../support/pod-driver.ts';

describe('admission', { concurrency: 8 }, () => {
  let cluster: Cluster;
  let registry: DemoRegistry;
  let pods: PodDriver;
  /** Thousandths of processors that pods may have. */
  let cpu = 0;

  before(async () => {
    cluster = await Cluster.withKubelet('kadmission', {
      allowedUnsafeSysctls: ['net.core.*'],
      systemReserved: { cpu: '200m' },
    });
    registry = await DemoRegistry.start(cluster.namespace);
    pods = await PodDriver.start(cluster, registry.image('v1'));
    const { allocatable } = (await cluster.get('node', 'node-1')).status;
    cpu = allocatable.cpu.endsWith('m') ? Number.parseInt(allocatable.cpu, 10) : Number(allocatable.cpu) * 1000;
  });
  after(async () => {
    await pods?.stop();
    await registry?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  const create = (name: string, spec: object = {}, metadata: object = {}) =>
    pods.create(name, { nodeName: 'node-1', ...spec } as Partial<PodSpec>, metadata);
  const asking = (milli: number) => ({
    containers: [pods.container({ resources: { requests: { cpu: `${milli}m` } } })],
  });
  const refused = async (name: string, spec: object, reason: string, message: RegExp, metadata = {}): Promise<void> => {
    await create(name, spec, metadata);
    const pod = await pods.until('refused', name, ({ status }) => status?.phase === 'Failed');
    assert.equal(pod.status?.reason, reason);
    assert.match(pod.status!.message!, message);
    assert.match(pod.status!.message!, /^Pod was rejected: /);
    await pods.untilEvent(name, reason, message);
    await pods.remove(name);
  };

  test('a pod that asks for more than the node has left is OutOfcpu', () =>
    refused(
      'toobig',
      asking(cpu + 1),
      'OutOfcpu',
      new RegExp(`Node didn't have enough resource: cpu, requested: ${cpu + 1}, used: \\d+, capacity: ${cpu}$`),
    ));

  test('a pod whose selector or affinity does not fit the node is NodeAffinity', async () => {
    const message = /Predicate NodeAffinity failed: node\(s\) didn't match Pod's node affinity\/selector/;
    await refused('selector', { nodeSelector: { disk: 'none' } }, 'NodeAffinity', message);
    const terms = [{ matchExpressions: [{ key: 'kubernetes.io/os', operator: 'NotIn', values: ['linux'] }] }];
    const nodeAffinity = { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms } };
    await refused('affinity', { affinity: { nodeAffinity } }, 'NodeAffinity', message);
  });

  test('a host port that another pod has is NodePorts', async () => {
    const ports = [{ containerPort: 80, hostPort: 28_080 }];
    const withPort = { containers: [pods.container({ ports })] };
    await create('port', withPort);
    await pods.untilReady('port');
    await refused('sameport', withPort, 'NodePorts', /Predicate NodePorts failed/);
    await pods.remove('port');
  });

  test('sysctls that are neither safe nor allowed are SysctlForbidden; those that are, are set', async () => {
    const sysctl = (name: string, value = '1') => ({ securityContext: { sysctls: [{ name, value }] } });
    await refused(
      'sysctl',
      sysctl('kernel.msgmax'),
      'SysctlForbidden',
      /forbidden sysctl: "kernel\.msgmax" not allowlisted/,
    );
    await create('allowed', sysctl('net.core.somaxconn', '77'));
    await pods.untilReady('allowed');
    assert.equal((await pods.exec('allowed', ['cat', '/proc/sys/net/core/somaxconn'])).trim(), '77');
    await pods.remove('allowed');
  });

  test('pods of another system, and with profiles that nobody enforces here, are refused', async () => {
    await refused('windows', { os: { name: 'windows' } }, 'PodOSNotSupported', /the OS field doesn't match node OS/);
    const label = { labels: { 'kubernetes.io/os': 'windows' } };
    await refused('windowslabel', {}, 'PodOSSelectorNodeLabelDoesNotMatch', /`kubernetes\.io\/os` label/, label);
    const securityContext = { appArmorProfile: { type: 'RuntimeDefault' } };
    await refused(
      'apparmor',
      { securityContext },
      'AppArmor',
      /Cannot enforce AppArmor: AppArmor is not enabled on the host/,
    );
  });

  test('a critical pod gets its room from others: they fail as Preempting, the fewest that will do', async () => {
    // In a node of its own: the others of this suite need their room.
    await using small = await Cluster.withKubelet('kpreempt', { maxPods: 12 });
    await using images = await DemoRegistry.start(small.namespace);
    const { allocatable } = (await small.get('node', 'node-1')).status;
    const most = allocatable.cpu.endsWith('m') ? Number.parseInt(allocatable.cpu, 10) : Number(allocatable.cpu) * 1000;
    const manifest = (name: string, milli: number, spec: object = {}) => ({
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name } },
      spec: {
        ...{ nodeName: 'node-1', terminationGracePeriodSeconds: 1, ...spec },
        containers: [
          {
            ...{
              name: 'main',
              image: images.image('v1'),
              command: ['sh', '-c', 'trap "exit 0" TERM; sleep 3600 & wait'],
            },
            resources: { requests: { cpu: `${milli}m` } },
          },
        ],
      },
    });
    const apply = (...all: object[]) =>
      small.kubectl(['apply', '-f', '-'], { input: all.map((one) => JSON.stringify(one)).join('\n') });
    const parts = [0.2, 0.3, 0.45].map((part) => Math.floor(most * part));
    await apply(manifest('low', parts[0]!), manifest('middle', parts[1]!), manifest('high', parts[2]!));
    const all = ['pod/low', 'pod/middle', 'pod/high'];
    await small.kubectl(['wait', '--for=condition=Ready', '--timeout=60s', ...all]);
    await apply(manifest('critical', Math.floor(most * 0.33), { priorityClassName: 'system-node-critical' }));
    await small.kubectl(['wait', '--for=condition=Ready', '--timeout=60s', 'pod/critical']);
    const { items } = await small.get('pods');
    const phases = Object.fromEntries(items.map(({ metadata, status }: Pod) => [metadata.name, status?.phase]));
    assert.deepEqual(phases, { critical: 'Running', high: 'Running', low: 'Running', middle: 'Failed' });
    const ended: Pod = items.find(({ metadata }: Pod) => metadata.name === 'middle');
    assert.deepEqual(
      [ended.status?.reason, ended.status?.message],
      ['Preempting', 'Preempted in order to admit critical pod'],
    );
    assert.equal(conditionOf(ended, 'DisruptionTarget')?.reason, 'TerminationByKubelet');
    // More than all others could give is refused, and nobody is ended for it.
    await apply(manifest('impossible', most + 1, { priorityClassName: 'system-node-critical' }));
    await small.kubectl(['wait', '--for=jsonpath={.status.phase}=Failed', '--timeout=30s', 'pod/impossible']);
    const { status } = await small.get('pod', 'impossible');
    assert.equal(status.reason, 'UnexpectedAdmissionError');
    assert.match(status.message, /no set of running pods found to reclaim resources: \[\(res: cpu, q: \d+\), \]/);
  });

  test('pods that are being ended still count, and what has failed does not', async () => {
    const part = Math.floor(cpu * 0.5);
    const stubborn = { ...asking(part), terminationGracePeriodSeconds: 3 };
    stubborn.containers[0]!.command = ['sh', '-c', 'trap "" TERM; while true; do sleep 0.1; done'];
    await create('ending', stubborn);
    await pods.untilReady('ending');
    await pods.delete('ending', 3);
    await pods.until('being deleted', 'ending', ({ metadata }) => metadata.deletionTimestamp);
    await refused('early', asking(part + 100), 'OutOfcpu', /enough resource: cpu/);
    await pods.untilGone('ending');
    await create('late', asking(part + 100));
    await pods.until('Ready', 'late', isReady);
    await pods.remove('late');
  });
});
