/** CPU, memory and topology managers and devices on a whole node: what is set aside, and what outlives a kill. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Pod } from '../../../src/api/index.ts';
import { podResources } from '../../../src/api/plugins/index.ts';
import { pollUntil } from '../../../src/async/index.ts';
import { TestDevicePlugin } from '../../../src/kubelet/testing/device-plugin.ts';
import { createGrpcClient } from '../../../src/wire/grpc/index.ts';
import type { Cluster } from '../../support/cluster.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';
import { SuiteNode } from '../../support/suite-node.ts';

const waits = ['sh', '-c', 'trap "exit 0" TERM; sleep 3600 & wait'];
const few = availableParallelism() < 2 ? 'a machine with one processor has none to give away' : false;

describe('a node with static CPU and memory managers', { skip: few }, () => {
  let node: SuiteNode;
  let cluster: Cluster;
  let registry: DemoRegistry;
  let image: string;
  const root = () => join(cluster.dataDirectory, 'kubelet');

  before(async () => {
    node = await SuiteNode.start('kcpus', () => ({
      cpuManagerPolicy: 'static',
      memoryManagerPolicy: 'Static',
      topologyManagerPolicy: 'single-numa-node',
      reservedSystemCPUs: '0',
      systemReserved: { memory: '100Mi' },
      evictionHard: { 'memory.available': '100Mi' },
      reservedMemory: [{ numaNode: 0, limits: { memory: '200Mi' } }],
    }));
    cluster = node.cluster;
    registry = await DemoRegistry.start(cluster.namespace);
    image = registry.image('v1');
  });
  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    await node?.[Symbol.asyncDispose]();
  });

  const apply = (name: string, resources: object, spec: object = {}) =>
    cluster.kubectl(['apply', '-f', '-'], {
      input: JSON.stringify({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name },
        spec: {
          terminationGracePeriodSeconds: 1,
          containers: [{ name: 'main', image, command: waits, resources }],
          ...spec,
        },
      }),
    });
  const whole = { limits: { cpu: '1', memory: '64Mi' } };
  const until = (what: string, name: string, holds: (pod: Pod) => boolean): Promise<Pod> =>
    pollUntil(
      `${name}: ${what}`,
      async () => {
        const pod = (await cluster.get('pod', name).catch(() => undefined)) as Pod | undefined;
        return pod && holds(pod) ? pod : undefined;
      },
      { timeoutMs: 30_000, intervalMs: 100 },
    );
  const isReady = (pod: Pod) =>
    pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
  const allowed = async (name: string, field = 'Cpus_allowed_list') =>
    new RegExp(`${field}:\\s+(\\S+)`).exec(
      await cluster.kubectl(['exec', name, '--', 'cat', '/proc/self/status']),
    )?.[1];
  const becomes = (name: string, cpus: string) =>
    pollUntil(`${name} on ${cpus}`, async () => (await allowed(name)) === cpus, { timeoutMs: 20_000, intervalMs: 100 });
  const remove = (...names: string[]) => cluster.kubectl(['delete', 'pod', '--wait=true', ...names]);
  const last = availableParallelism() - 1;
  const all = `0-${last}`;

  test('a Guaranteed pod has a processor for itself, which all others leave at once and get back when it goes', async () => {
    await apply('sharer', {});
    await until('ready', 'sharer', isReady);
    await becomes('sharer', all);
    await apply('owner', whole);
    await until('ready', 'owner', isReady);
    assert.equal(await allowed('owner'), '1');
    const rest = last === 1 ? '0' : last === 2 ? '0,2' : `0,2-${last}`;
    await becomes('sharer', rest);
    const quota = await cluster
      .kubectl([
        'exec',
        'owner',
        '--',
        'sh',
        '-c',
        'cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d" " -f1 /sys/fs/cgroup/cpu.max',
      ])
      .catch(() => '-1');
    assert.match(quota.trim(), /^(-1|max)$/, 'no quota on processors of its own');

    const state = JSON.parse(await readFile(join(root(), 'cpu_manager_state'), 'utf8'));
    assert.equal(state.policyName, 'static');
    assert.equal(state.defaultCpuSet, rest);

    const before = (await cluster.get('pod', 'owner')) as Pod;
    process.kill(await cluster.pidOf('kubelet'), 'SIGKILL');
    // Past the scheduler, which knows that there is nothing left.
    await apply('greedy', { limits: { cpu: String(last + 1), memory: '64Mi' } }, { nodeName: 'node-1' });
    const refused = await until('refused', 'greedy', ({ status }) => status?.phase === 'Failed');
    assert.equal(refused.status?.reason, 'TopologyAffinityError');
    assert.equal(refused.status?.message, 'Pod was rejected: Resources cannot be allocated with Topology locality');
    const metrics = await cluster.kubectl(['get', '--raw', '/api/v1/nodes/node-1/proxy/metrics']);
    assert.match(metrics, /kubelet_cpu_manager_exclusive_cpu_allocation_count 1\n/);
    assert.match(metrics, /kubelet_topology_manager_admission_errors_total 1\n/);
    assert.equal(await allowed('owner'), '1');
    const after = (await cluster.get('pod', 'owner')) as Pod;
    assert.equal(after.status!.containerStatuses![0]!.containerID, before.status!.containerStatuses![0]!.containerID);

    await remove('owner');
    await becomes('sharer', all);
    await remove('sharer', 'greedy');
  });

  test('a device plugin gives devices, before and after the kubelet was killed', async () => {
    const resource = 'example.test/dongle';
    const socket = join(root(), 'device-plugins/kubelet.sock');
    const devices = ['a', 'b'].map((ID) => ({ ID, health: 'Healthy' as const, topology: { nodes: [{ ID: 0n }] } }));
    await using plugin = new TestDevicePlugin(resource, join(root(), 'device-plugins'), devices);
    plugin.options = { preStartRequired: true, getPreferredAllocationAvailable: false };
    plugin.answer = (ids) => ({
      envs: { DONGLES: [...ids].sort().join() },
      devices: [{ containerPath: '/dev/dongle', hostPath: '/dev/zero', permissions: 'r' }],
      mounts: [{ containerPath: '/dongle', hostPath: '/etc/hostname', readOnly: true }],
    });
    await plugin.serve();
    await plugin.register(socket);
    const counted = (count: number, of: 'capacity' | 'allocatable' = 'allocatable') =>
      pollUntil(
        `${count} ${of}`,
        async () => (await cluster.get('node', 'node-1')).status[of][resource] === String(count),
        {
          timeoutMs: 20_000,
          intervalMs: 100,
        },
      );
    await counted(2);
    await apply('device', { limits: { [resource]: '1', cpu: '100m', memory: '32Mi' } });
    const before = await until('ready', 'device', isReady);
    const inside = (what: string) => cluster.kubectl(['exec', 'device', '--', 'sh', '-c', what]);
    const id = (await inside('echo $DONGLES')).trim();
    assert.match(id, /^[ab]$/);
    assert.deepEqual(plugin.calls, [`allocate ${id}`, `prepare ${id}`]);
    await inside('head -c 1 /dev/dongle >/dev/null && cat /dongle >/dev/null');
    const health = async () =>
      ((await cluster.get('pod', 'device')) as Pod).status?.containerStatuses?.[0]?.allocatedResourcesStatus;
    assert.deepEqual(await health(), [{ name: resource, resources: [{ resourceID: id, health: 'Healthy' }] }]);

    plugin.tell(devices.map((device) => ({ ...device, health: device.ID === id ? 'Unhealthy' : 'Healthy' })));
    await counted(1);
    await counted(2, 'capacity');
    await pollUntil('ill', async () => (await health())?.[0]?.resources?.[0]?.health === 'Unhealthy', {
      timeoutMs: 20_000,
      intervalMs: 100,
    });
    plugin.tell(devices);
    await counted(2);

    process.kill(await cluster.pidOf('kubelet'), 'SIGKILL');
    // The kubelet that comes takes the plugins' sockets away, by which they know that they have to register again.
    await pollUntil('registered again', async () => !existsSync(plugin.socket), { timeoutMs: 20_000, intervalMs: 50 });
    await plugin[Symbol.asyncDispose]();
    await plugin.serve();
    await pollUntil(
      'registered',
      () =>
        plugin.register(socket).then(
          () => true,
          () => false,
        ),
      {
        timeoutMs: 20_000,
        intervalMs: 100,
      },
    );
    await counted(2);
    await apply('other', { limits: { [resource]: '1', cpu: '100m', memory: '32Mi' } });
    await until('ready', 'other', isReady);
    assert.equal(plugin.calls.filter((call) => call === `allocate ${id}`).length, 1, 'the other device was given');
    const after = (await cluster.get('pod', 'device')) as Pod;
    assert.equal(after.status!.containerStatuses![0]!.containerID, before.status!.containerStatuses![0]!.containerID);

    const client = createGrpcClient(podResources.PodResourcesLister, join(root(), 'pod-resources/kubelet.sock'));
    const { podResources: list } = await client.list({}).finally(() => client.close());
    const given = list.flatMap(({ name, containers }) =>
      containers.flatMap((one) =>
        one.devices.flatMap(({ deviceIds }) => deviceIds.map((device) => `${name} ${device}`)),
      ),
    );
    assert.deepEqual(given.sort(), [`device ${id}`, `other ${id === 'a' ? 'b' : 'a'}`]);
    await remove('device', 'other');
  });

  test('memory of a Guaranteed pod comes from a NUMA node, and podresources tells of both', async () => {
    await apply('memory', { limits: { cpu: '500m', memory: '64Mi' } });
    await until('ready', 'memory', isReady);
    assert.equal(await allowed('memory', 'Mems_allowed_list'), '0');
    const client = createGrpcClient(podResources.PodResourcesLister, join(root(), 'pod-resources/kubelet.sock'));
    try {
      const { podResources: one } = await client.get({ podName: 'memory', podNamespace: 'default' });
      const [memory] = one!.containers[0]!.memory;
      assert.deepEqual([memory!.memoryType, memory!.size], ['memory', BigInt(64 * 2 ** 20)]);
      const { cpuIds, memory: all } = await client.getAllocatableResources({});
      assert.deepEqual(
        cpuIds.map(Number),
        Array.from({ length: last }, (_, at) => at + 1),
      );
      assert.ok(all.some(({ memoryType }) => memoryType === 'memory'));
    } finally {
      client.close();
    }
    await remove('memory');
  });
});
