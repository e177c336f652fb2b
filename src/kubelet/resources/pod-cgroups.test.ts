import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Pod } from '../../api/index.ts';
import { systemClock } from '../../async/index.ts';
import { openCgroups, removeCgroupTree } from '../../host/cgroups/index.ts';
import { createLogger } from '../../log/index.ts';
import { createPodCgroups } from './pod-cgroups.ts';
import { podLimits } from './pod-limits.ts';
import { qosLimits } from './qos-limits.ts';
import { sliceProperties } from './systemd-slices.ts';

const pod = (resources: object[], init: object[] = []): Pod =>
  ({
    metadata: { name: 'a', uid: 'uid-1' },
    spec: {
      containers: resources.map((one, index) => ({ name: `c${index}`, resources: one })),
      initContainers: init,
    },
  }) as unknown as Pod;
const options = { cpuQuota: true, cpuQuotaPeriodUs: 100_000, podPidsLimit: 100 };

test('limits of a pod are those of its containers together, open when one is open', () => {
  const closed = { requests: { cpu: '100m', memory: '10Mi' }, limits: { cpu: '500m', memory: '20Mi' } };
  assert.deepEqual(podLimits(pod([closed, closed]), options), {
    cpuShares: 204,
    cpuPeriodUs: 100_000,
    cpuQuotaUs: 100_000,
    memoryBytes: 40 * 2 ** 20,
    pids: 100,
  });
  assert.equal(podLimits(pod([closed, {}]), options).memoryBytes, -1);
  assert.equal(podLimits(pod([closed, {}]), options).cpuQuotaUs, -1);
  const large = { name: 'init', resources: { limits: { cpu: '2', memory: '1Gi' } } };
  assert.equal(podLimits(pod([closed], [large]), options).memoryBytes, 2 ** 30);
  const sidecar = { name: 'side', restartPolicy: 'Always', resources: { limits: { cpu: '1', memory: '10Mi' } } };
  assert.equal(podLimits(pod([closed], [sidecar]), options).memoryBytes, 30 * 2 ** 20);
  assert.equal(podLimits(pod([{}]), options).cpuShares, 2);
});

test('a pod has its cgroup below its class, and it goes', async () => {
  const cgroupRoot = `/deckhand-test-${process.pid}`;
  const log = createLogger('test', () => {});
  const cgroups = createPodCgroups({
    ...options,
    cgroupRoot,
    driver: 'cgroupfs',
    allPods: { cpuShares: 2048, memoryBytes: 2 ** 30 },
    log,
    clock: systemClock,
  });
  try {
    const path = await cgroups.ensure(pod([{ requests: { cpu: '100m' }, limits: { memory: '20Mi' } }]));
    assert.equal(path, `${cgroupRoot}/kubepods/burstable/poduid-1`);
    const tree = openCgroups();
    const memory = readFileSync(
      `${tree.directory('memory', path)}/${tree.version === 'v2' ? 'memory.max' : 'memory.limit_in_bytes'}`,
      'utf8',
    ).trim();
    assert.equal(memory, String(20 * 2 ** 20));
    await cgroups.collect(new Set(['uid-1']));
    assert.ok(tree.exists(path));
    await cgroups.remove('uid-1');
    assert.ok(!tree.exists(path));
    await cgroups.remove('uid-1');
  } finally {
    await removeCgroupTree(cgroupRoot);
  }
});

test('the cgroup of a pod is changed a limit at a time, and says what it has', async () => {
  const cgroupRoot = `/deckhand-test-change-${process.pid}`;
  const log = createLogger('test', () => {});
  const ground = { ...options, cgroupRoot, driver: 'cgroupfs' as const, allPods: {}, log, clock: systemClock };
  const cgroups = createPodCgroups(ground);
  try {
    const closed = pod([{ requests: { cpu: '100m' }, limits: { cpu: '500m', memory: '20Mi' } }]);
    await cgroups.ensure(closed);
    const { memoryUsageBytes, ...limits } = cgroups.current(closed)!;
    assert.equal(memoryUsageBytes, 0);
    assert.ok(Math.abs(limits.cpuShares - 102) < 26, String(limits.cpuShares));
    assert.deepEqual({ ...limits, cpuShares: 102 }, cgroups.limits(closed));
    assert.equal(cgroups.isOpen(closed), false);
    const larger = pod([{ requests: { cpu: '100m' }, limits: { cpu: '500m', memory: '40Mi' } }]);
    assert.equal(cgroups.isOpen(larger), true);
    await cgroups.change(larger, { memoryBytes: 40 * 2 ** 20 });
    assert.equal(cgroups.isOpen(larger), false);
    assert.equal(cgroups.current(closed)?.memoryBytes, 40 * 2 ** 20);
    // A kubelet that starts anew takes it as it is.
    await createPodCgroups(ground).ensure(closed);
    assert.equal(cgroups.current(closed)?.memoryBytes, 40 * 2 ** 20);
  } finally {
    await removeCgroupTree(cgroupRoot);
  }
});

test('with the systemd driver cgroups are slices, which systemd keeps', async () => {
  const root = `deckhandtest${process.pid}`;
  const told: string[] = [];
  const slices = {
    start: async (slice: string) => void told.push(`start ${slice}`),
    stop: async (slice: string) => void told.push(`stop ${slice}`),
    limit: async (slice: string, limits: object) => void told.push(`limit ${slice} ${Object.keys(limits)}`),
  };
  const log = createLogger('test', () => {});
  const one = pod([{ requests: { cpu: '100m' } }]);
  const cgroups = createPodCgroups({
    ...options,
    cgroupRoot: `/${root}`,
    driver: 'systemd',
    allPods: {},
    slices,
    log,
    clock: systemClock,
  });
  try {
    const slice = `${root}-kubepods-burstable-poduid_1.slice`;
    assert.equal(await cgroups.ensure(one), slice);
    const path = `/${root}.slice/${root}-kubepods.slice/${root}-kubepods-burstable.slice/${slice}`;
    assert.ok(openCgroups().exists(path));
    assert.ok(told.includes(`start ${slice}`));
    await cgroups.collect(new Set());
    assert.ok(!openCgroups().exists(path));
    assert.ok(told.includes(`stop ${slice}`));
  } finally {
    await removeCgroupTree(`/${root}.slice`);
  }
});

test('memory that higher classes ask for is kept from the lower ones', () => {
  const of = (qos: 'Guaranteed' | 'Burstable', mebibytes: number) => ({
    qos,
    requests: new Map([['memory', mebibytes * 2 ** 20 * 1000]]),
  });
  const limits = qosLimits([of('Guaranteed', 100), of('Burstable', 50)], {
    reservedMemory: 500,
    allocatableMemory: 1000 * 2 ** 20,
  });
  assert.equal(limits.Burstable.memoryBytes, 950 * 2 ** 20);
  assert.equal(limits.BestEffort.memoryBytes, 925 * 2 ** 20);
});

test('limits are told to systemd as properties', () => {
  const limits = { cpuShares: 1024, cpuQuotaUs: 50_000, cpuPeriodUs: 100_000, memoryBytes: -1, pids: 10 };
  assert.deepEqual(sliceProperties(limits, true), [
    'CPUWeight=39',
    'CPUQuota=50%',
    'CPUQuotaPeriodSec=100000us',
    'MemoryMax=infinity',
    'TasksMax=10',
  ]);
  assert.deepEqual(sliceProperties({ cpuShares: 2, memoryBytes: 5 }, false), ['CPUShares=2', 'MemoryLimit=5']);
});
