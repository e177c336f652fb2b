import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod, PodSpec } from '../../api/index.ts';
import { makeContainer, makePod } from '../testing/pods.ts';
import { crossed, type EvictionMemory, judge, mostUrgent, noMemory } from './judge.ts';
import { type Observations, type PodFigures, partsOn, storageOf } from './observations.ts';
import { planReclaim, planStorageLimits, planVictim, rankPods } from './plan-eviction.ts';
import { pressureHandler } from './pressure-handler.ts';
import { type Threshold, withContainerThresholds } from './thresholds.ts';

const mebibyte = 2 ** 20;
const hard: Threshold = { signal: 'memory.available', value: { quantity: 100 }, graceMs: 0 };
const soft: Threshold = { signal: 'nodefs.available', value: { part: 0.2 }, graceMs: 1000 };
const seen = (memory: number, disk: number): Observations => ({
  'memory.available': { available: memory, capacity: 1000 },
  'nodefs.available': { available: disk, capacity: 1000 },
});

describe('what is seen of the node', () => {
  const look = (memory: EvictionMemory, observations: Observations, now: number) =>
    judge([soft, hard], observations, memory, { now, transitionMs: 5000 });

  it('is acted on at once for hard thresholds, and after their grace period for soft ones', () => {
    const first = look(noMemory, seen(99, 199), 0);
    assert.deepEqual(first.memory.due, [hard]);
    assert.deepEqual([...first.pressures].sort(), ['DiskPressure', 'MemoryPressure']);
    const later = look(first.memory, seen(500, 199), 1000);
    assert.deepEqual(later.memory.due, [soft]);
    // What recovers meanwhile begins anew.
    const free = look(later.memory, seen(500, 500), 1500);
    assert.deepEqual(look(free.memory, seen(500, 100), 2400).memory.due, []);
  });

  it('makes conditions that hold for a while', () => {
    const { memory } = look(noMemory, seen(99, 500), 0);
    assert.equal(look(memory, seen(500, 500), 4999).pressures.has('MemoryPressure'), true);
    assert.equal(look(memory, seen(500, 500), 5000).pressures.has('MemoryPressure'), false);
  });

  it('is short until as much is free again as is wanted', () => {
    const greedy: Threshold = { ...hard, minimumReclaim: { quantity: 50 } };
    const before = judge([greedy], seen(99, 0), noMemory, { now: 0, transitionMs: 0 });
    assert.deepEqual(judge([greedy], seen(120, 0), before.memory, { now: 1, transitionMs: 0 }).memory.due, [greedy]);
    assert.deepEqual(judge([greedy], seen(150, 0), before.memory, { now: 1, transitionMs: 0 }).memory.due, []);
    assert.deepEqual(crossed([greedy], {}), []);
  });

  it('has memory come first', () => {
    assert.equal(mostUrgent([soft, hard]), hard);
    assert.equal(mostUrgent([]), undefined);
  });
});

const figures = (changes: Partial<PodFigures>): PodFigures => ({
  ...{ memoryBytes: 0, processes: 1, containers: [], volumes: [] },
  ...changes,
});
const one = { dedicatedImages: false, split: false };
const pod = (uid: string, requests: Record<string, string> = {}, spec: Partial<PodSpec> = {}): Pod =>
  makePod({ containers: [makeContainer('main', { resources: { requests } })], ...spec }, { uid, name: uid });
const names = (pods: Pod[]) => pods.map(({ metadata }) => metadata.uid);

describe('the order in which pods are ended', () => {
  it('is: over their request, less priority, farther over', () => {
    const used = new Map([
      ['within', figures({ memoryBytes: 90 * mebibyte })],
      ['over', figures({ memoryBytes: 120 * mebibyte })],
      ['far-over', figures({ memoryBytes: 300 * mebibyte })],
      ['important', figures({ memoryBytes: 900 * mebibyte })],
    ]);
    const asked = { memory: '100Mi' };
    const pods = [
      pod('within', asked),
      pod('important', asked, { priority: 5 }),
      pod('over', asked),
      pod('far-over', asked),
    ];
    const input = { pods, figures: (uid: string) => used.get(uid), layout: one };
    assert.deepEqual(names(rankPods('memory.available', input)), ['far-over', 'over', 'important', 'within']);
  });

  it('counts what lies on the disk that is full', () => {
    const layer = { bytes: 10 * mebibyte, inodes: 1 };
    const logs = { bytes: mebibyte, inodes: 2 };
    const container = { name: 'main', memoryBytes: 0, layer, logs };
    const volume = { name: 'v', bytes: 5 * mebibyte, inodes: 90, own: false };
    const used = new Map([
      ['layers', figures({ containers: [container] })],
      ['volumes', figures({ volumes: [volume, { ...volume, own: true, bytes: 2 ** 40 }] })],
    ]);
    const rank = (signal: Threshold['signal'], layout = one) =>
      names(rankPods(signal, { pods: [pod('layers'), pod('volumes')], figures: (uid) => used.get(uid), layout }));
    const apart = { dedicatedImages: true, split: false };
    assert.deepEqual(rank('nodefs.available'), ['layers', 'volumes']);
    assert.deepEqual(rank('nodefs.inodesFree'), ['volumes', 'layers']);
    assert.deepEqual(rank('nodefs.available', apart), ['volumes', 'layers']);
    assert.deepEqual(rank('imagefs.available', apart), ['layers', 'volumes']);
    assert.deepEqual(partsOn('nodefs.available', { dedicatedImages: true, split: true }), [
      'logs',
      'volumes',
      'layers',
    ]);
    assert.equal(storageOf(used.get('layers')!, ['layers', 'logs']).bytes, 11 * mebibyte);
  });

  it('of processes is by priority, then by how many', () => {
    const used = new Map([
      ['few', figures({ processes: 3 })],
      ['many', figures({ processes: 30 })],
      ['important', figures({ processes: 300 })],
    ]);
    const pods = [pod('few'), pod('important', {}, { priority: 1 }), pod('many')];
    const input = { pods, figures: (uid: string) => used.get(uid), layout: one };
    assert.deepEqual(names(rankPods('pid.available', input)), ['many', 'few', 'important']);
  });
});

describe('the pod that is ended', () => {
  const used = figures({
    memoryBytes: 120 * mebibyte,
    containers: [
      { name: 'main', memoryBytes: 120 * mebibyte, layer: { bytes: 0, inodes: 0 }, logs: { bytes: 0, inodes: 0 } },
    ],
  });
  const threshold: Threshold = { signal: 'memory.available', value: { quantity: 100 * mebibyte }, graceMs: 0 };
  const plan = (pods: Pod[], one_: Threshold = threshold, maximumGraceSeconds = 0) =>
    planVictim(
      one_,
      [one_],
      { 'memory.available': { available: 90 * mebibyte, capacity: 2 ** 30 } },
      { pods, figures: () => used, layout: one, maximumGraceSeconds },
    );

  it('is told why, in the words that users know', () => {
    const step = plan([pod('a', { memory: '100Mi' })]);
    assert.ok(step?.kind === 'evict');
    assert.equal(
      step.message,
      'The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi. Container main was using 120Mi, request is 100Mi, has larger consumption of memory. ',
    );
    assert.deepEqual(step.annotations, {
      offending_containers: 'main',
      offending_containers_usage: '120Mi',
      starved_resource: 'memory',
    });
    assert.deepEqual([step.graceSeconds, step.disruption, step.signal], [1, true, 'memory.available']);
  });

  it('is never a critical one, and has its grace period when the threshold is soft', () => {
    const critical = pod('critical', {}, { priority: 2_000_000_000 });
    assert.equal(plan([critical]), undefined);
    const grace = (own: number, most: number) => {
      const step = plan([pod('a', {}, { terminationGracePeriodSeconds: own })], { ...threshold, graceMs: 5 }, most);
      return step?.kind === 'evict' && step.graceSeconds;
    };
    assert.deepEqual([grace(30, 10), grace(5, 10)], [10, 5]);
  });

  it('comes after what nobody uses: dead containers and images, on the disk that is full', () => {
    const both = { kind: 'reclaim', containers: true, images: true };
    assert.deepEqual(planReclaim('nodefs.available', one), both);
    assert.equal(planReclaim('memory.available', one), undefined);
    assert.equal(planReclaim('nodefs.available', { dedicatedImages: true, split: false }), undefined);
    const split = { dedicatedImages: true, split: true };
    assert.deepEqual(planReclaim('imagefs.inodesFree', split), { kind: 'reclaim', containers: false, images: true });
    assert.deepEqual(planReclaim('containerfs.available', split), { kind: 'reclaim', containers: true, images: false });
  });
});

describe('limits of local storage', () => {
  const limited = (limits: Record<string, string>, spec: Partial<PodSpec> = {}): Pod =>
    makePod({ containers: [makeContainer('main', { resources: { limits } })], ...spec });
  const used = figures({
    containers: [
      {
        name: 'main',
        memoryBytes: 0,
        layer: { bytes: 6 * mebibyte, inodes: 1 },
        logs: { bytes: 2 * mebibyte, inodes: 1 },
      },
    ],
    volumes: [{ name: 'cache', bytes: 5 * mebibyte, inodes: 1, own: false }],
  });
  const message = (subject: Pod, layout = one) => {
    const [step] = planStorageLimits({ pods: [subject], figures: () => used, layout });
    return step?.kind === 'evict' ? step.message : undefined;
  };

  it('are those of volumes, of the pod and of each container', () => {
    const volumes = [{ name: 'cache', emptyDir: { sizeLimit: '4Mi' } }];
    assert.equal(message(limited({}, { volumes })), 'Usage of EmptyDir volume "cache" exceeds the limit "4Mi". ');
    assert.equal(
      message(limited({ 'ephemeral-storage': '12Mi' })),
      'Pod ephemeral local storage usage exceeds the total limit of containers 12Mi. ',
    );
    const two = limited({ 'ephemeral-storage': '7Mi' });
    two.spec.containers.push(makeContainer('b', { resources: { limits: { 'ephemeral-storage': '1Gi' } } }));
    assert.equal(message(two), 'Container main exceeded its local ephemeral storage limit "7Mi". ');
    // With images on another disk only the logs count.
    assert.equal(message(two, { dedicatedImages: true, split: false }), undefined);
    assert.equal(message(limited({ 'ephemeral-storage': '13Mi' })), undefined);
  });
});

describe('a node that runs short', () => {
  it('takes critical pods, and others only when they can do without what is short', () => {
    const ask = (subject: Pod, ...pressures: ('MemoryPressure' | 'DiskPressure')[]) =>
      pressureHandler(() => new Set(pressures)).admit(subject, []);
    const refused = { reason: 'Evicted', message: 'The node had condition: [MemoryPressure]. ' };
    assert.equal(ask(pod('a')), undefined);
    assert.deepEqual(ask(pod('a'), 'MemoryPressure'), refused);
    assert.equal(ask(pod('a', { memory: '1Mi' }), 'MemoryPressure'), undefined);
    const tolerations = [{ key: 'node.kubernetes.io/memory-pressure', operator: 'Exists', effect: 'NoSchedule' }];
    assert.equal(ask(pod('a', {}, { tolerations }), 'MemoryPressure'), undefined);
    assert.ok(ask(pod('a', { memory: '1Mi' }), 'MemoryPressure', 'DiskPressure'));
    assert.equal(ask(pod('a', {}, { priority: 2_000_000_000 }), 'DiskPressure'), undefined);
  });

  it('judges writable layers by the disk on which they are', () => {
    const thresholds: Threshold[] = [
      { signal: 'nodefs.available', value: { part: 0.1 }, graceMs: 0 },
      { signal: 'imagefs.available', value: { part: 0.2 }, graceMs: 0 },
    ];
    const derived = (layout: { dedicatedImages: boolean; split: boolean }) =>
      withContainerThresholds(thresholds, layout).find(({ signal }) => signal === 'containerfs.available')?.value;
    assert.deepEqual(derived(one), { part: 0.1 });
    assert.deepEqual(derived({ dedicatedImages: true, split: false }), { part: 0.2 });
    assert.deepEqual(derived({ dedicatedImages: true, split: true }), { part: 0.1 });
  });
});
