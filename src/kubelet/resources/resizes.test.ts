import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Node, Pod, ResourceRequirements } from '../../api/index.ts';
import { FakeClock } from '../../async/index.ts';
import { createLogger } from '../../log/index.ts';
import { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import { PodEvents } from '../pods/pod-events.ts';
import { createRecord, type PodRecord } from '../pods/pod-record.ts';
import { makeContainer, makePod } from '../testing/pods.ts';
import { Resizes } from './resizes.ts';

const node = {
  metadata: { name: 'n' },
  status: { allocatable: { cpu: '4', memory: '4Gi', pods: '110' } },
} as unknown as Node;
const defaults = { memoryCapacity: 2 ** 32, cpuQuota: true, cpuQuotaPeriodUs: 100_000 };
const sized = (uid: string, resources: ResourceRequirements, spec: object = {}, generation = 1): Pod =>
  makePod({ containers: [makeContainer('main', { resources })], ...spec }, { uid, name: uid, generation });
const cpu = (uid: string, amount: string, more: object = {}, generation = 1) =>
  sized(uid, { requests: { cpu: amount } }, more, generation);

describe('resizes', () => {
  let directory: string;
  let records: PodRecord[];
  let told: string[];
  let lines: string[];
  const clock = new FakeClock();
  const open = (policies: { cpuManager?: string } = {}) =>
    new Resizes({
      ...{ rootDirectory: directory, node: () => node, maxPods: 110, clock },
      policies: { cpuManager: 'none', memoryManager: 'None', defaults, ...policies },
      records: () => records,
      ready: () => true,
      changed: (uid) => void told.push(uid),
      events: new PodEvents(
        { event: (...event: unknown[]) => void told.push(String(event[2])) } as never,
        createLogger('t', () => {}),
      ),
      metrics: new KubeletMetrics(),
      log: createLogger('test', (_level, _component, message) => void lines.push(message)),
    });
  const admit = (resizes: Resizes, pod: Pod): PodRecord => {
    const record = createRecord(resizes.allocated(pod), 0, pod);
    record.admitted = true;
    records.push(record);
    resizes.admitted(record);
    return record;
  };
  const want = (resizes: Resizes, record: PodRecord, pod: Pod): void => {
    const before = record.desired;
    record.desired = pod;
    record.pod = resizes.allocated(pod);
    resizes.updated(record, before);
  };
  const has = ({ pod }: PodRecord) => pod.spec.containers[0]!.resources?.requests?.['cpu'];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'dh-resizes-'));
    [records, told, lines] = [[], [], []];
  });
  afterEach(() => rm(directory, { recursive: true }));

  it('are granted where there is room, and said to be in progress until they are in force', () => {
    const resizes = open();
    const record = admit(resizes, cpu('a', '1'));
    resizes.made(record.pod, record.pod.spec.containers[0]!);
    want(resizes, record, cpu('a', '2', {}, 2));
    assert.equal(has(record), '2');
    assert.deepEqual(resizes.open(record.pod, 'main'), ['cpu']);
    assert.equal(resizes.conditions('a').inProgress?.generation, 2);
    resizes.actuatedContainer('a', 'main', { requests: { cpu: '2' } });
    assert.deepEqual(resizes.open(record.pod, 'main'), []);
    assert.equal(resizes.completed(record.pod), true);
    assert.deepEqual(resizes.conditions('a'), {});
    assert.deepEqual(told, ['ResizeStarted', 'a', 'ResizeCompleted']);
  });

  it('wait while there is no room, and come in order of priority when there is', () => {
    const resizes = open();
    const big = admit(resizes, cpu('big', '2'));
    const low = admit(resizes, cpu('low', '500m'));
    const high = admit(resizes, cpu('high', '500m', { priority: 10 }));
    want(resizes, low, cpu('low', '3', {}, 2));
    want(resizes, high, cpu('high', '3', { priority: 10 }, 2));
    assert.equal(has(low), '500m');
    const { reason, message } = resizes.conditions('low').pending!;
    assert.deepEqual(
      [reason, message],
      ['Deferred', "Node didn't have enough resource: cpu, requested: 3000, used: 2500, capacity: 4000"],
    );
    big.phase = 'terminated';
    resizes.ended('big');
    assert.equal(has(high), '3');
    assert.equal(has(low), '500m');
    high.phase = 'terminated';
    resizes.ended('high');
    assert.equal(has(low), '3');
    assert.equal(resizes.conditions('low').pending, undefined);
  });

  it('that the node can never grant are infeasible, and are not looked at again', () => {
    const resizes = open({ cpuManager: 'static' });
    const record = admit(resizes, cpu('a', '1'));
    want(resizes, record, cpu('a', '5', {}, 2));
    const pending = resizes.conditions('a').pending!;
    assert.equal(pending.reason, 'Infeasible');
    assert.equal(pending.message, "Node didn't have enough capacity: cpu, requested: 5000, capacity: 4000");
    want(resizes, record, cpu('a', '1', {}, 3));
    assert.equal(resizes.conditions('a').pending, undefined);
    const whole = (amount: string) => {
      const list = { cpu: amount, memory: '1Gi' };
      return sized('g', { requests: list, limits: list }, {}, Number(amount));
    };
    const guaranteed = admit(resizes, whole('1'));
    want(resizes, guaranteed, whole('2'));
    assert.match(resizes.conditions('g').pending!.message!, /alongside CPU Manager policy "static"/);
  });

  it('survive a kill: granted and told resources are on disk', async () => {
    const before = open();
    const record = admit(before, cpu('a', '1'));
    before.made(record.pod, record.pod.spec.containers[0]!);
    want(before, record, cpu('a', '2', {}, 2));
    await before.saved();
    records = [];
    const after = open();
    // The API wants more by now.
    const again = admit(after, cpu('a', '3', {}, 3));
    assert.deepEqual(after.actuated('a')?.containers, { main: { requests: { cpu: '1' } } });
    assert.equal(has(again), '3');
    await after.saved();
    after.collect(new Set());
    await after.saved();
    assert.deepEqual(JSON.parse(await readFile(join(directory, 'allocated_pods_state'), 'utf8')).pods, {});
  });

  it('a damaged file is told and begun anew', async () => {
    const path = join(directory, 'allocated_pods_state');
    for (const text of ['{', '{"version":1,"checksum":"0","pods":{"a":{"containers":{}}}}', '{"version":7}']) {
      await writeFile(path, text);
      lines = [];
      assert.equal(open().allocated(cpu('a', '1')).spec.containers[0]!.resources?.requests?.['cpu'], '1');
      assert.match(lines.join(), /cannot be used, and are begun anew/);
    }
  });
});
