import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Pod } from '../../api/index.ts';
import { systemClock } from '../../async/index.ts';
import { createLogger } from '../../log/index.ts';
import { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import { makeContainer, makePod } from '../testing/pods.ts';
import { CpuManager, type CpuManagerOptions } from './cpu-manager.ts';
import { parseCpuOptions } from './cpu-options.ts';
import { formatCpuSet, parseCpuSet } from './cpu-set.ts';
import { readCpuState, writeCpuState } from './cpu-state.ts';
import { distributeCpus } from './distribute-cpus.ts';
import type { MachineTopology } from './machine-topology.ts';
import { MemoryManager } from './memory-manager.ts';
import { readMemoryState } from './memory-state.ts';
import { ResourceAllocation } from './resource-allocation.ts';
import type { ResourceProvider } from './resource-provider.ts';
import { takeCpus } from './take-cpus.ts';
import { type Hint, mergeHints, type TopologyPolicy } from './topology-hints.ts';
import { parseTopologyOptions } from './topology-options.ts';

const log = createLogger('test', () => {});
const metrics = new KubeletMetrics();
const gib = 2 ** 30;

/** A machine of sockets with NUMA nodes with cores of two threads; threads of a core are half the machine apart. */
function machine(sockets: number, nodesPerSocket: number, coresPerNode: number, cachesPerNode = 1): MachineTopology {
  const cores = sockets * nodesPerSocket * coresPerNode;
  const cpus = Array.from({ length: cores * 2 }, (_, cpu) => {
    const core = cpu % cores;
    const node = Math.floor(core / coresPerNode);
    const cache = Math.floor(core / (coresPerNode / cachesPerNode));
    return { cpu, core, socket: Math.floor(node / nodesPerSocket), node, cache };
  });
  const nodes = Array.from({ length: sockets * nodesPerSocket }, (_, id) => ({
    id,
    memoryBytes: 4 * gib,
    hugepages: { 'hugepages-2Mi': gib },
    distances: Object.fromEntries(
      Array.from({ length: sockets * nodesPerSocket }, (_, to) => [to, 10 + 10 * Math.abs(id - to)]),
    ),
  }));
  return { cpus, nodes };
}
const all = ({ cpus }: MachineTopology) => new Set(cpus.map(({ cpu }) => cpu));
/** 0-3 and 8-11 on node 0, 4-7 and 12-15 on node 1. */
const two = machine(2, 1, 4);

function guaranteed(uid: string, ...cpus: string[]): Pod {
  const containers = cpus.map((cpu, at) => {
    const one = { cpu, memory: '1Gi' };
    return makeContainer(`c${at}`, { resources: { limits: one, requests: one } });
  });
  return makePod({ containers }, { uid });
}

describe('sets of processors', () => {
  it('are read and written as the kernel does', () => {
    for (const text of ['', '0', '0-3,8', '1,3,5']) assert.equal(formatCpuSet(parseCpuSet(text)), text);
    assert.equal(formatCpuSet([3, 1, 2, 7]), '1-3,7');
    for (const bad of ['a', '3-1', '1-', '1,,2']) assert.throws(() => parseCpuSet(bad), bad);
  });
});

describe('which processors to take', () => {
  const take = (count: number, from = all(two), options = {}) => formatCpuSet(takeCpus(two, from, count, options));

  it('whole cores before threads, whole NUMA nodes before cores', () => {
    assert.equal(take(1), '0');
    assert.equal(take(2), '0,8');
    assert.equal(take(3), '0-1,8');
    assert.equal(take(8), '0-3,8-11');
    assert.equal(take(10), '0-4,8-12');
  });

  it('what is in use already is used up first', () => {
    const free = all(two).difference(new Set([8]));
    assert.equal(take(1, free), '0');
    assert.equal(take(2, free), '1,9');
    assert.equal(take(8, free), '4-7,12-15');
  });

  it('threads of different cores when they are to be spread', () => {
    assert.equal(take(4, all(two), { spreadOverCores: true }), '0-3');
  });

  it('what shares a cache when that is preferred', () => {
    const split = machine(1, 1, 8, 2);
    const free = all(split).difference(new Set([0, 8]));
    assert.equal(formatCpuSet(takeCpus(split, free, 8, { preferCache: true })), '4-7,12-15');
    assert.equal(formatCpuSet(takeCpus(split, free, 6, { preferCache: true })), '1-3,9-11');
  });

  it('too few are an error', () => {
    assert.throws(() => take(17), /requested=17, available=16/);
  });

  it('in equal numbers from each NUMA node, when they are to be distributed', () => {
    const share = (count: number, group: number) => formatCpuSet(distributeCpus(two, all(two), count, group));
    assert.equal(share(10, 1), '0-2,4-6,8-9,12-13');
    assert.equal(share(12, 2), '0-2,4-6,8-10,12-14');
    assert.equal(share(8, 1), '0-3,8-11');
  });
});

describe('hints', () => {
  const hint = (nodes: number[] | undefined, preferred: boolean): Hint => ({ nodes, preferred });
  const merge = (policy: Exclude<TopologyPolicy, 'none'>, ...lists: Hint[][]) =>
    mergeHints(
      policy,
      two.nodes,
      lists.map((list, at) => new Map([[String(at), list]])),
    );

  it('meet where all resources are, if there is such a place', () => {
    const cpu = [hint([0], true), hint([1], true), hint([0, 1], false)];
    const device = [hint([1], true), hint([0, 1], false)];
    for (const policy of ['best-effort', 'restricted', 'single-numa-node'] as const)
      assert.deepEqual(merge(policy, cpu, device), { nodes: [1], preferred: true, admitted: true });
  });

  it('that do not meet are let in by best-effort only', () => {
    const apart = [
      [hint([0], true), hint([0, 1], false)],
      [hint([1], true), hint([0, 1], false)],
    ];
    assert.equal(merge('best-effort', ...apart).admitted, true);
    assert.equal(merge('restricted', ...apart).admitted, false);
    assert.equal(merge('single-numa-node', ...apart).admitted, false);
  });

  it('that need two nodes satisfy restricted and not single-numa-node', () => {
    const wide = [[hint([0, 1], true)]];
    assert.deepEqual(merge('restricted', ...wide), { nodes: [0, 1], preferred: true, admitted: true });
    assert.equal(merge('single-numa-node', ...wide).admitted, false);
  });

  it('of nobody admit; no place at all does not', () => {
    assert.deepEqual(mergeHints('single-numa-node', two.nodes, [new Map()]), {
      nodes: undefined,
      preferred: true,
      admitted: true,
    });
    assert.equal(merge('restricted', []).admitted, false);
  });

  it('prefer nodes that are near each other when asked to', () => {
    const four = machine(4, 1, 2).nodes;
    const list = [hint([0, 3], true), hint([2, 3], true)];
    const choose = (preferClosest: boolean) =>
      mergeHints('restricted', four, [new Map([['cpu', list]])], { preferClosest }).nodes;
    assert.deepEqual(choose(false), [0, 3]);
    assert.deepEqual(choose(true), [2, 3]);
  });
});

describe('options', () => {
  it('are refused by name', () => {
    assert.throws(() => parseCpuOptions({ nope: 'true' }, false), /unknown option "nope"/);
    assert.throws(() => parseCpuOptions({ 'full-pcpus-only': 'maybe' }, false), /must be true or false/);
    assert.throws(() => parseCpuOptions({ 'align-by-socket': 'true' }, false), /needs the feature gate/);
    assert.throws(
      () =>
        parseCpuOptions({ 'distribute-cpus-across-numa': 'true', 'prefer-align-cpus-by-uncorecache': 'true' }, false),
      /exclude each other/,
    );
    assert.throws(() => parseTopologyOptions({ 'max-allowable-numa-nodes': '4' }), /at least 8/);
    assert.deepEqual(parseTopologyOptions({ 'prefer-closest-numa-nodes': 'true' }), {
      preferClosest: true,
      maximumNodes: 8,
    });
  });
});

describe('state files', () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'dh-managers-'));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('have the checksums that upstream computes', async () => {
    const file = join(root, 'cpu');
    await writeCpuState(file, 'none', { shared: new Set(), assigned: new Map() });
    assert.equal(await readFile(file, 'utf8'), '{"policyName":"none","defaultCpuSet":"","checksum":1353318690}');
    const entries = { pod: { container1: '4-6', container2: '1-3' } };
    await writeFile(file, JSON.stringify({ policyName: 'none', defaultCpuSet: '1-3', entries, checksum: 3610638499 }));
    const state = await readCpuState(file, 'none');
    assert.equal(formatCpuSet(state!.assigned.get('pod')!.get('container1')!), '4-6');
    const table = { total: 2048, systemReserved: 512, allocatable: 1536, reserved: 512, free: 1024 };
    const memory = {
      policyName: 'static',
      machineState: { 0: { numberOfAssignments: 0, memoryMap: { memory: table }, cells: [] } },
      entries: { pod: { container1: [{ numaAffinity: [0], type: 'memory', size: 512 }] } },
      checksum: 4215593881,
    };
    await writeFile(file, JSON.stringify(memory));
    assert.ok(await readMemoryState(file, 'static'));
  });

  it('that are broken, or of another policy, are refused with what to do', async () => {
    const file = join(root, 'cpu');
    await writeFile(file, '{"policyName":"none","defaultCpuSet":"","checksum":1}');
    await assert.rejects(readCpuState(file, 'none'), /is corrupt .* drain the node and remove the file/);
    await writeFile(file, '{"policyName":"none","defaultCpuSet":"","checksum":1353318690}');
    await assert.rejects(readCpuState(file, 'static'), /configured policy "static" differs from policy "none"/);
    await writeFile(file, '{');
    await assert.rejects(readCpuState(file, 'static'), /is not JSON/);
  });

  describe('the CPU manager', () => {
    const open = async (more: Partial<CpuManagerOptions> = {}, options: Record<string, string> = {}) => {
      const manager = new CpuManager({
        ...{
          topology: two,
          options: parseCpuOptions(options, true),
          reserved: 1,
          file: join(root, 'cpu'),
          metrics,
          log,
        },
        ...more,
      });
      await manager.start();
      return manager;
    };
    const allocate = async (manager: ResourceProvider, pod: Pod, nodes?: number[]) => {
      for (const container of [...(pod.spec.initContainers ?? []), ...pod.spec.containers])
        await manager.allocate(pod, container, nodes, false);
    };
    const cpusOf = (manager: CpuManager, uid: string, name = 'c0') => formatCpuSet(manager.cpusOf(uid, name));

    it('gives whole processors to Guaranteed pods, and takes them from all others', async () => {
      const manager = await open();
      await allocate(manager, guaranteed('a', '2', '500m'));
      assert.equal(cpusOf(manager, 'a'), '1,9');
      assert.equal(cpusOf(manager, 'a', 'c1'), '0,2-8,10-15');
      assert.equal(cpusOf(manager, 'other'), '0,2-8,10-15');
      await manager.release('a');
      assert.equal(cpusOf(manager, 'other'), '0-15');
    });

    it('has the same after a restart, and gives a pod that comes again what it had', async () => {
      await allocate(await open(), guaranteed('a', '2'), [1]);
      const next = await open();
      assert.equal(cpusOf(next, 'a'), '4,12');
      await allocate(next, guaranteed('a', '2'), [0]);
      assert.equal(cpusOf(next, 'a'), '4,12');
      assert.deepEqual(next.hints(guaranteed('a', '2'), guaranteed('a', '2').spec.containers[0]!).get('cpu'), [
        { nodes: [1], preferred: true },
        { nodes: [0, 1], preferred: false },
      ]);
    });

    it('gives the processors of init containers to those after them, and not those of sidecars', async () => {
      const manager = await open();
      const pod = guaranteed('a', '2');
      const init = (name: string, more = {}) => ({ ...guaranteed('', '2').spec.containers[0]!, name, ...more });
      pod.spec.initContainers = [init('first'), init('side', { restartPolicy: 'Always' })];
      await allocate(manager, pod);
      assert.equal(cpusOf(manager, 'a', 'first'), '1,9');
      assert.equal(cpusOf(manager, 'a', 'side'), '1,9');
      assert.equal(cpusOf(manager, 'a'), '2,10');
      await manager.release('a');
      assert.equal(cpusOf(manager, 'other'), '0-15');
    });

    it('refuses parts of cores with full-pcpus-only, also those of reserved threads', async () => {
      const manager = await open({}, { 'full-pcpus-only': 'true' });
      await assert.rejects(async () => allocate(manager, guaranteed('a', '1')), {
        failure: {
          reason: 'SMTAlignmentError',
          message: 'SMT Alignment Error: requested 1 cpus not multiple cpus per core = 2',
        },
      });
      await assert.rejects(async () => allocate(manager, guaranteed('a', '16')), /available physical CPUs = 14/);
    });

    it('keeps everybody from reserved processors with strict-cpu-reservation', async () => {
      const manager = await open({ reserved: new Set([0, 8]) }, { 'strict-cpu-reservation': 'true' });
      assert.equal(cpusOf(manager, 'other'), '1-7,9-15');
      await open({ reserved: new Set([0, 8]) }, { 'strict-cpu-reservation': 'true' });
    });

    it('takes sockets for near with align-by-socket', async () => {
      const topology = machine(1, 2, 2);
      const manager = await open({ topology, reserved: new Set([7]) }, { 'align-by-socket': 'true' });
      const pod = guaranteed('a', '2');
      const hints = manager.hints(pod, pod.spec.containers[0]!).get('cpu')!;
      assert.ok(hints.every(({ preferred }) => preferred));
    });

    it('refuses a file of another machine or other reservations', async () => {
      await open();
      await assert.rejects(open({ topology: machine(1, 1, 2) }), /knows processors 0-15, and the machine has 0-3/);
      await allocate(await open(), guaranteed('a', '2'));
      await assert.rejects(open({ reserved: new Set([1]) }), /not all reserved processors 1 are in its shared set/);
      await assert.rejects(open({ reserved: new Set([99]) }), /no processors 99 on this machine/);
    });
  });

  describe('the memory manager', () => {
    const reserved = new Map([[0, { memory: gib }]]);
    const open = async () => {
      const manager = new MemoryManager({ topology: two, reserved, file: join(root, 'memory'), metrics, log });
      await manager.start();
      return manager;
    };
    const pod = (uid: string, memory: string, more = {}) => {
      const one = { cpu: '1', memory, ...more };
      return makePod({ containers: [makeContainer('c0', { resources: { limits: one, requests: one } })] }, { uid });
    };
    const allocate = (manager: MemoryManager, one: Pod, nodes?: number[], preferred = false) =>
      manager.allocate(one, one.spec.containers[0]!, nodes, preferred);

    it('takes memory from as few nodes as hold it', async () => {
      const manager = await open();
      // Node 0 has 4 Gi less what is reserved and less huge pages: 2 Gi; node 1 has 3 Gi.
      await allocate(manager, pod('a', '1Gi'));
      assert.deepEqual(manager.nodesOf('a', 'c0'), [0]);
      await allocate(manager, pod('b', '2Gi'));
      assert.deepEqual(manager.nodesOf('b', 'c0'), [1]);
      await assert.rejects(allocate(manager, pod('c', '4Gi')), /no NUMA nodes with enough memory is available/);
      await manager.release('a');
      await manager.release('b');
      await allocate(manager, pod('c', '4Gi'));
      assert.deepEqual(manager.nodesOf('c', 'c0'), [0, 1]);
      // Nodes that hold memory for one container together are not used alone: what is left is to be had on both only.
      assert.deepEqual(manager.hints(pod('d', '1Gi'), pod('d', '1Gi').spec.containers[0]!).get('memory'), [
        { nodes: [0, 1], preferred: false },
      ]);
    });

    it('takes huge pages with it, and has the same after a restart', async () => {
      const one = pod('a', '1Gi', { 'hugepages-2Mi': '512Mi' });
      await allocate(await open(), one, [1]);
      const next = await open();
      assert.deepEqual(next.nodesOf('a', 'c0'), [1]);
      assert.deepEqual(
        next
          .blocksOf('a', 'c0')
          .map(({ type, size }) => [type, size])
          .sort(),
        [
          ['hugepages-2Mi', gib / 2],
          ['memory', gib],
        ],
      );
      await next.release('a');
      await open();
    });

    it('extends the place that was said when that does not hold it all', async () => {
      const manager = await open();
      await allocate(manager, pod('a', '4Gi'), [0]);
      assert.deepEqual(manager.nodesOf('a', 'c0'), [0, 1]);
    });

    it('refuses a file when what is reserved has changed', async () => {
      await open();
      const other = new MemoryManager({ topology: two, reserved: new Map(), file: join(root, 'memory'), metrics, log });
      await assert.rejects(other.start(), /the machine or what is reserved has changed/);
    });
  });

  describe('both together', () => {
    const open = async (policy: TopologyPolicy, scope: 'container' | 'pod' = 'container') => {
      const cpus = new CpuManager({
        topology: two,
        options: parseCpuOptions({}, false),
        reserved: 1,
        file: join(root, 'cpu'),
        metrics,
        log,
      });
      const memory = new MemoryManager({
        topology: two,
        reserved: new Map(),
        file: join(root, 'memory'),
        metrics,
        log,
      });
      await cpus.start();
      await memory.start();
      const providers = [cpus, memory];
      return {
        cpus,
        memory,
        allocation: new ResourceAllocation({
          providers,
          policy,
          scope,
          nodes: two.nodes,
          preferClosest: false,
          metrics,
          clock: systemClock,
          log,
        }),
      };
    };

    it('come from the same NUMA node', async () => {
      const { cpus, memory, allocation } = await open('single-numa-node');
      assert.equal(await allocation.admit(guaranteed('a', '6')), undefined);
      assert.equal(await allocation.admit(guaranteed('b', '6')), undefined);
      for (const uid of ['a', 'b']) {
        const nodes = new Set([...cpus.cpusOf(uid, 'c0')].map((cpu) => two.cpus[cpu]!.node));
        assert.deepEqual([...nodes], memory.nodesOf(uid, 'c0'));
      }
    });

    it('a pod that fits on no node alone is refused, by containers or as a whole', async () => {
      const failure = {
        reason: 'TopologyAffinityError',
        message: 'Resources cannot be allocated with Topology locality',
      };
      const single = await open('single-numa-node');
      assert.deepEqual(await single.allocation.admit(guaranteed('a', '10')), failure);
      assert.equal(await single.allocation.admit(guaranteed('b', '6', '6')), undefined);
      await single.allocation.release('b');
      const whole = await open('single-numa-node', 'pod');
      assert.deepEqual(await whole.allocation.admit(guaranteed('c', '6', '6')), failure);
      assert.equal(await whole.allocation.admit(guaranteed('d', '3', '3')), undefined);
    });

    it('with the policy none any place will do; what cannot be had is an unexpected error', async () => {
      const { allocation } = await open('none');
      assert.equal(await allocation.admit(guaranteed('a', '10')), undefined);
      const failure = await allocation.admit(guaranteed('b', '10'));
      assert.equal(failure?.reason, 'UnexpectedAdmissionError');
      assert.match(failure!.message, /not enough cpus available to satisfy request: requested=10, available=5/);
    });
  });
});
