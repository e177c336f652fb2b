import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Pod } from '../../api/index.ts';
import { systemClock } from '../../async/index.ts';
import { openCgroups, removeCgroupTree } from '../../host/cgroups/index.ts';
import { createLogger } from '../../log/index.ts';
import { createPodCgroups, podLimits } from './pod-cgroups.ts';

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
    allocatable: { cpuMilli: 2000, memoryBytes: 2 ** 30 },
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
