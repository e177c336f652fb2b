import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Pod, PodStatus } from '../../api/index.ts';
import { podResources } from '../../api/plugins/index.ts';
import { type Clock, pollUntil, systemClock } from '../../async/index.ts';
import { createLogger } from '../../log/index.ts';
import { createGrpcClient } from '../../wire/grpc/index.ts';
import { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import { PluginWatcher } from '../plugins/index.ts';
import { TestDevicePlugin } from '../testing/device-plugin.ts';
import { makeContainer, makePod } from '../testing/pods.ts';
import { readDeviceState, writeDeviceState } from './device-checkpoint.ts';
import { withDeviceHealth } from './device-health.ts';
import { DeviceManager, isExtendedResource } from './device-manager.ts';
import { servePodResources } from './pod-resources.ts';

const log = createLogger('test', () => {});
const metrics = new KubeletMetrics();
const resource = 'example.test/dongle';
const healthy = (...ids: string[]) => ids.map((ID) => ({ ID, health: 'Healthy' as const }));
const onNode = (ID: string, node: number) => ({
  ID,
  health: 'Healthy' as const,
  topology: { nodes: [{ ID: BigInt(node) }] },
});

function podWith(uid: string, ...counts: number[]): Pod {
  const containers = counts.map((count, at) =>
    makeContainer(`c${at}`, {
      resources: { limits: { [resource]: String(count) }, requests: { [resource]: String(count) } },
    }),
  );
  return makePod({ containers }, { uid, name: uid });
}

describe('device plugins', () => {
  let directory: string;
  let manager: DeviceManager;
  let plugin: TestDevicePlugin;
  const health: string[] = [];
  let aheadMs = 0;
  const clock: Clock = { ...systemClock, monotonic: () => systemClock.monotonic() + aheadMs };

  const open = async (): Promise<void> => {
    manager = new DeviceManager({
      ...{ directory, nodes: [0, 1], metrics, clock, log, onNodeChange: () => {} },
      onHealth: (podUids) => health.push(...podUids),
    });
    await manager.start();
    await manager.serve();
  };
  const until = (what: string, holds: () => boolean) => pollUntil(what, holds, { timeoutMs: 10_000, intervalMs: 5 });
  const allocatable = (count: number) =>
    until(`${count} allocatable`, () => manager.counts().get(resource)?.allocatable === count);
  const register = async () => {
    await plugin.serve();
    await plugin.register(join(directory, 'kubelet.sock'));
  };
  const allocate = async (pod: Pod, nodes?: number[]) => {
    for (const container of [...(pod.spec.initContainers ?? []), ...pod.spec.containers])
      await manager.allocate(pod, container, nodes);
  };
  const idsOf = (uid: string, container = 'c0') =>
    manager
      .entriesOf(uid, container)
      .flatMap(({ devices }) => [...devices.values()].flat())
      .sort()
      .join();

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'dh-dev-'));
    health.length = 0;
    aheadMs = 0;
    await open();
    plugin = new TestDevicePlugin(resource, directory, healthy('a', 'b', 'c'));
  });
  afterEach(async () => {
    await plugin[Symbol.asyncDispose]();
    await manager.stop();
    await rm(directory, { recursive: true, force: true });
  });

  it('are counted as they tell, ill ones in the capacity only', async () => {
    await register();
    await allocatable(3);
    plugin.tell([...healthy('a', 'b'), { ID: 'c', health: 'Unhealthy' }]);
    await allocatable(2);
    assert.equal(manager.counts().get(resource)!.capacity, 3);
  });

  it('give devices with what comes with them, each to one container', async () => {
    plugin.answer = (ids) => ({
      envs: { DONGLES: [...ids].sort().join() },
      mounts: [{ containerPath: '/dongle', hostPath: '/tmp', readOnly: true }],
      devices: [{ containerPath: '/dev/dongle', hostPath: '/dev/null', permissions: 'rw' }],
      annotations: { 'example.test/a': '1' },
      cdiDevices: [{ name: 'example.test/dongle=1' }],
    });
    await register();
    await allocatable(3);
    const pod = podWith('p', 2, 1);
    await allocate(pod);
    const grant = await manager.grant(pod, pod.spec.containers[0]!);
    assert.deepEqual(grant, {
      devices: [{ containerPath: '/dev/dongle', hostPath: '/dev/null', permissions: 'rw' }],
      mounts: [{ containerPath: '/dongle', hostPath: '/tmp', readonly: true }],
      environment: { DONGLES: idsOf('p') },
      annotations: { 'example.test/a': '1' },
      cdiDevices: ['example.test/dongle=1'],
    });
    assert.equal(new Set([...idsOf('p').split(','), ...idsOf('p', 'c1').split(',')]).size, 3);
    await assert.rejects(allocate(podWith('q', 1)), /Requested: 1, Available: 0/);
    await manager.release('p');
    await allocate(podWith('q', 1));
  });

  it('are asked which devices they prefer, and to prepare them, if they want to be', async () => {
    plugin.options = { preStartRequired: true, getPreferredAllocationAvailable: true };
    plugin.preferred = () => ['c', 'b'];
    await register();
    await allocatable(3);
    const pod = podWith('p', 2);
    await allocate(pod);
    assert.equal(idsOf('p'), 'b,c');
    await manager.grant(pod, pod.spec.containers[0]!);
    assert.deepEqual(plugin.calls, ['prefer 2 of a,b,c', 'allocate b,c', 'prepare b,c']);
  });

  it('give the devices of init containers to those after them', async () => {
    await register();
    await allocatable(3);
    const pod = podWith('p', 2);
    pod.spec.initContainers = [{ ...podWith('', 3).spec.containers[0]!, name: 'init' }];
    await allocate(pod);
    assert.equal(idsOf('p', 'init'), 'a,b,c');
    assert.equal(idsOf('p').split(',').length, 2);
  });

  it('with NUMA nodes give hints, and devices from the node that was decided', async () => {
    plugin.tell([onNode('a', 0), onNode('b', 1), onNode('c', 1)]);
    await register();
    await allocatable(3);
    const pod = podWith('p', 2);
    assert.deepEqual(manager.hints(pod, pod.spec.containers[0]!).get(resource), [
      { nodes: [1], preferred: true },
      { nodes: [0, 1], preferred: false },
    ]);
    await allocate(pod, [1]);
    assert.equal(idsOf('p'), 'b,c');
    assert.deepEqual(manager.hints(podWith('q', 2), podWith('q', 2).spec.containers[0]!).get(resource), []);
  });

  it('what is whose outlives the kubelet; a running pod keeps it while the plugin is away', async () => {
    await register();
    await allocatable(3);
    await allocate(podWith('p', 2));
    const before = idsOf('p');
    await manager.stop();
    await open();
    assert.equal(idsOf('p'), before);
    assert.deepEqual(manager.counts().get(resource), { capacity: 0, allocatable: 0 });
    await assert.rejects(allocate(podWith('q', 1)), /no healthy devices present/);
    await plugin[Symbol.asyncDispose]();
    await register();
    await allocatable(3);
    await allocate(podWith('q', 1));
    assert.ok(!before.split(',').includes(idsOf('q')));
  });

  it('that go leave ill devices, and after five minutes none', async () => {
    await register();
    await allocatable(3);
    await allocate(podWith('p', 1));
    await plugin[Symbol.asyncDispose]();
    await allocatable(0);
    assert.equal(manager.counts().get(resource)!.capacity, 3);
    assert.deepEqual(health, ['p']);
    const status = { containerStatuses: [{ name: 'c0' }] } as PodStatus;
    assert.deepEqual(withDeviceHealth(status, 'p', manager).containerStatuses![0]!.allocatedResourcesStatus, [
      { name: resource, resources: [{ resourceID: idsOf('p'), health: 'Unhealthy' }] },
    ]);
    aheadMs = 300_000;
    assert.deepEqual(manager.counts().get(resource), { capacity: 0, allocatable: 0 });
  });

  it('may register by plugins_registry instead, and go with their socket', async () => {
    const registry = join(directory, 'registry');
    const handlers = { DevicePlugin: manager.plugins };
    const watcher = new PluginWatcher({ directory: registry, handlers, clock: systemClock, log });
    await watcher.start();
    const other = new TestDevicePlugin(resource, registry, healthy('x'));
    try {
      await other.serve(true);
      await allocatable(1);
      await until('told', () => other.calls.includes('registered'));
      await other[Symbol.asyncDispose]();
      await allocatable(0);
      assert.equal(manager.counts().get(resource)!.capacity, 1);
    } finally {
      await other[Symbol.asyncDispose]();
      await watcher.stop();
    }
  });

  it('are refused for another version or a name that is not theirs to give', async () => {
    await plugin.serve();
    const socket = join(directory, 'kubelet.sock');
    await assert.rejects(plugin.register(socket, 'v1alpha'), /requested API version "v1alpha" is not supported/);
    await assert.rejects(plugin.register(socket, 'v1beta1', 'cpu'), /the ResourceName "cpu" is invalid/);
    for (const [name, is] of [
      ['a.test/b', true],
      ['kubernetes.io/b', false],
      ['x.kubernetes.io/b', false],
      ['b', false],
      ['requests.a.test/b', false],
    ] as const)
      assert.equal(isExtendedResource(name), is, name);
  });

  it('an error of theirs says why, and takes no device', async () => {
    await register();
    await allocatable(3);
    plugin.allocateError = 'broken';
    await assert.rejects(allocate(podWith('p', 3)), /broken/);
    plugin.allocateError = undefined;
    await allocate(podWith('q', 3));
  });

  it('a broken checkpoint is told, and work goes on', async () => {
    await register();
    await allocatable(3);
    await allocate(podWith('p', 1));
    const file = join(directory, 'kubelet_internal_checkpoint');
    const content = JSON.parse(await readFile(file, 'utf8'));
    assert.deepEqual(content.Data.PodDeviceEntries[0].DeviceIDs, { '-1': [idsOf('p')] });
    await manager.stop();
    await writeFile(file, JSON.stringify({ ...content, Checksum: 1 }));
    await open();
    assert.deepEqual(manager.podUids(), []);
  });

  it('podresources tells who has what, and refuses those who ask too often', async () => {
    plugin.tell([onNode('a', 0), onNode('b', 1)]);
    await register();
    await allocatable(2);
    const pod = podWith('p', 1);
    await allocate(pod, [1]);
    const socket = join(directory, 'resources.sock');
    const server = await servePodResources({
      socket,
      pods: () => [pod],
      devices: manager,
      cpus: undefined,
      memory: undefined,
      metrics,
      clock,
    });
    const client = createGrpcClient(podResources.PodResourcesLister, socket);
    try {
      const { podResources: list } = await client.list({});
      const [device] = list[0]!.containers[0]!.devices;
      assert.deepEqual([list[0]!.name, device!.resourceName, device!.deviceIds], ['p', resource, ['b']]);
      assert.equal(device!.topology!.nodes[0]!.ID, 1n);
      const { podResources: one } = await client.get({ podName: 'p', podNamespace: 'default' });
      assert.equal(one!.containers.length, 1);
      await assert.rejects(
        client.get({ podName: 'x', podNamespace: 'default' }),
        /pod x in namespace default not found/,
      );
      const { devices } = await client.getAllocatableResources({});
      assert.deepEqual(devices.flatMap(({ deviceIds }) => deviceIds).sort(), ['a', 'b']);
      const many = await Promise.allSettled(Array.from({ length: 30 }, () => client.list({})));
      assert.ok(
        many.some((result) => result.status === 'rejected' && /rejected by rate limit/.test(result.reason.message)),
      );
    } finally {
      client.close();
      await server.close();
    }
  });
});

describe('the checkpoint of devices', () => {
  it('has the checksum that upstream computes', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'dh-dev-'));
    try {
      const file = join(directory, 'kubelet_internal_checkpoint');
      const entry = {
        ...{ PodUID: 'u-1', ContainerName: 'c', ResourceName: resource },
        ...{ DeviceIDs: { '-1': ['a'], '0': ['b', 'c'] }, AllocResp: 'CgYKAUESAUI=' },
      };
      const Data = { PodDeviceEntries: [entry], RegisteredDevices: { [resource]: ['a', 'b'], 'x.test/y': [] } };
      await writeFile(file, JSON.stringify({ Data, Checksum: 656176061 }));
      const state = await readDeviceState(file);
      assert.deepEqual(state!.entries[0]!.answer.envs, { A: 'B' });
      await writeDeviceState(file, state!);
      assert.deepEqual(JSON.parse(await readFile(file, 'utf8')), { Data, Checksum: 656176061 });
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
});
