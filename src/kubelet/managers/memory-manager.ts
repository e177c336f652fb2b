import { type Container, type Pod, quantityValue } from '../../api/index.ts';
import type { Logger } from '../../log/index.ts';
import { ConfigurationError } from '../errors.ts';
import type { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import { qosClass } from '../pods/container-resources.ts';
import type { MachineTopology } from './machine-topology.ts';
import { addBlock, defaultMachineState, freeOn, removeBlock, sameMachineState, standingOf } from './memory-machine.ts';
import { type MemoryBlock, type MemoryState, readMemoryState, writeMemoryState } from './memory-state.ts';
import {
  containersOf,
  endsFirst,
  hasPodResources,
  neededTogether,
  type ResourceProvider,
} from './resource-provider.ts';
import { compareWidth, everySet, type Hint, type Hints, type Nodes } from './topology-hints.ts';

/** What a memory manager needs. */
export interface MemoryManagerOptions {
  topology: MachineTopology;
  /** Memory that no container gets, by NUMA node and resource, bytes. */
  reserved: ReadonlyMap<number, Readonly<Record<string, number>>>;
  /** `<root>/memory_manager_state`. */
  file: string;
  metrics: KubeletMetrics;
  log: Logger;
}

/** What is asked for, by resource, bytes. */
type Wanted = ReadonlyMap<string, number>;

/**
 * The static policy: containers of Guaranteed pods get their memory (and huge pages) from as few NUMA nodes as hold it.
 * A node that holds memory of containers alone is not also used for those that need several nodes.
 */
export class MemoryManager implements ResourceProvider {
  readonly name = 'memory';
  readonly #config: MemoryManagerOptions;
  #state: MemoryState = { machineState: {}, entries: {} };
  /** What init containers of the pod that is being let in leave to those after them: by nodes and resource, bytes. */
  #reusable: { podUid: string; bytes: Map<string, number> } = { podUid: '', bytes: new Map() };

  constructor(config: MemoryManagerOptions) {
    this.#config = config;
  }

  /** Takes over the state file, or begins one. @throws ConfigurationError when it does not fit this machine or configuration */
  async start(): Promise<void> {
    const { topology, reserved, file, log } = this.#config;
    const expected = defaultMachineState(topology, reserved);
    const found = await readMemoryState(file, 'Static');
    if (found && Object.keys(found.machineState).length > 0) {
      for (const containers of Object.values(found.entries))
        for (const blocks of Object.values(containers))
          for (const block of blocks)
            if (!addBlock(expected, block)) this.#refuse('it uses memory that the machine has not');
      if (!sameMachineState(found.machineState, expected)) this.#refuse('the machine or what is reserved has changed');
      this.#state = found;
    } else this.#state = { machineState: expected, entries: {} };
    await this.#write();
    log.info('memory manager starts', { nodes: topology.nodes.length, pods: this.podUids().length });
  }

  /** The NUMA nodes that a container's memory comes from; undefined for all. */
  nodesOf(podUid: string, container: string): Nodes | undefined {
    const blocks = this.blocksOf(podUid, container);
    if (blocks.length === 0) return undefined;
    return [...new Set(blocks.flatMap(({ numaAffinity }) => numaAffinity))].sort((a, b) => a - b);
  }

  /** What a container has. */
  blocksOf(podUid: string, container: string): readonly MemoryBlock[] {
    return this.#state.entries[podUid]?.[container] ?? [];
  }

  /** What may be given away on each node. */
  allocatable(): MemoryBlock[] {
    return Object.entries(this.#state.machineState).flatMap(([node, { memoryMap }]) =>
      Object.entries(memoryMap)
        .filter(([, { allocatable }]) => allocatable > 0)
        .map(([type, { allocatable }]) => ({ numaAffinity: [Number(node)], type, size: allocatable })),
    );
  }

  podUids(): string[] {
    return Object.keys(this.#state.entries);
  }

  hints(pod: Pod, container: Container): Hints {
    const wanted = wantedBy(pod, container);
    if (wanted.size === 0) return new Map();
    const has = this.blocksOf(pod.metadata.uid, container.name);
    return has.length > 0 ? hintsOf(has, wanted) : this.#places(pod, wanted);
  }

  podHints(pod: Pod): Hints {
    const wanted = wantedTogether(pod);
    if (wanted.size === 0) return new Map();
    for (const { name } of containersOf(pod)) {
      const has = this.blocksOf(pod.metadata.uid, name);
      if (has.length > 0) return hintsOf(has, wanted);
    }
    return this.#places(pod, wanted);
  }

  async allocate(pod: Pod, container: Container, nodes: Nodes | undefined, preferred: boolean): Promise<void> {
    const wanted = wantedBy(pod, container);
    if (wanted.size === 0) return;
    this.#config.metrics.count('kubelet_memory_manager_pinning_requests_total');
    try {
      await this.#give(pod, container, wanted, nodes, preferred);
    } catch (error) {
      this.#config.metrics.count('kubelet_memory_manager_pinning_errors_total');
      throw error;
    }
  }

  async #give(
    pod: Pod,
    container: Container,
    wanted: Wanted,
    nodes: Nodes | undefined,
    preferred: boolean,
  ): Promise<void> {
    const { uid } = pod.metadata;
    const known = this.blocksOf(uid, container.name);
    if (known.length > 0) return this.#noteReusable(pod, container, known);
    const on = this.#choose(pod, wanted, nodes, preferred);
    const { machineState, entries } = this.#state;
    const blocks: MemoryBlock[] = [];
    for (const [type, size] of wanted) {
      const reused = Math.min(size, this.#reusableOf(pod, on, type));
      addBlock(machineState, { numaAffinity: [...on], type, size: size - reused });
      blocks.push({ numaAffinity: [...on], type, size });
    }
    this.#takeFromInit(pod, container, blocks);
    this.#noteReusable(pod, container, blocks);
    entries[uid] = { ...entries[uid], [container.name]: blocks };
    await this.#write();
  }

  async release(podUid: string): Promise<void> {
    const containers = this.#state.entries[podUid];
    if (this.#reusable.podUid === podUid) this.#reusable = { podUid: '', bytes: new Map() };
    if (!containers) return;
    delete this.#state.entries[podUid];
    for (const blocks of Object.values(containers))
      for (const block of blocks) removeBlock(this.#state.machineState, block);
    await this.#write();
  }

  #write(): Promise<void> {
    return writeMemoryState(this.#config.file, 'Static', this.#state);
  }

  #refuse(why: string): never {
    const { file } = this.#config;
    throw new ConfigurationError(
      'memoryManagerPolicy',
      `${file} does not fit: ${why}; drain the node and remove the file`,
    );
  }

  /** The nodes to use: those that were said, with more if they do not hold it all. */
  #choose(pod: Pod, wanted: Wanted, nodes: Nodes | undefined, preferred: boolean): Nodes {
    const { machineState } = this.#state;
    let chosen = nodes;
    if (!chosen || [...wanted].some(([type, size]) => freeOn(machineState, chosen!, type) < size)) {
      const said = chosen;
      const places = [...(this.#places(pod, wanted).values().next().value ?? [])];
      const able = places.filter((place) => !said || said.every((node) => place.nodes!.includes(node)));
      able.sort((a, b) => Number(b.preferred) - Number(a.preferred) || compareWidth(a.nodes!, b.nodes!));
      const best = able[0];
      if (!best)
        throw new Error(
          said
            ? '[memorymanager] failed to find NUMA nodes to extend the current topology hint'
            : '[memorymanager] failed to get the default NUMA affinity, no NUMA nodes with enough memory is available',
        );
      if (preferred && !best.preferred)
        throw new Error(`[memorymanager] failed to find the ${said ? 'extended' : 'default'} preferred hint`);
      chosen = best.nodes!;
    }
    if (standingOf(machineState, chosen) === 'apart')
      throw new Error('[memorymanager] preferred hint violates NUMA node allocation');
    return chosen;
  }

  /** Sets of nodes that hold all that is wanted. */
  #places(pod: Pod, wanted: Wanted): Hints {
    const { machineState } = this.#state;
    const nodes = Object.keys(machineState)
      .map(Number)
      .sort((a, b) => a - b);
    let least = nodes.length;
    const found: Nodes[] = [];
    for (const set of everySet(nodes)) {
      const holds = (of: 'allocatable' | 'free', more: (type: string) => number) =>
        [...wanted].every(([type, size]) => freeOn(machineState, set, type, of) + more(type) >= size);
      if (!holds('allocatable', () => 0)) continue;
      least = Math.min(least, set.length);
      if (standingOf(machineState, set) !== 'apart' && holds('free', (type) => this.#reusableOf(pod, set, type)))
        found.push(set);
    }
    const list: Hint[] = found.map((set) => ({ nodes: set, preferred: set.length === least }));
    return new Map([...wanted.keys()].map((type) => [type, list]));
  }

  #reusableOf(pod: Pod, nodes: Nodes, type: string): number {
    return this.#reusable.podUid === pod.metadata.uid ? (this.#reusable.bytes.get(`${nodes.join()} ${type}`) ?? 0) : 0;
  }

  #noteReusable(pod: Pod, container: Container, blocks: readonly MemoryBlock[]): void {
    if (this.#reusable.podUid !== pod.metadata.uid) this.#reusable = { podUid: pod.metadata.uid, bytes: new Map() };
    const { bytes } = this.#reusable;
    for (const { numaAffinity, type, size } of blocks) {
      const key = `${numaAffinity.join()} ${type}`;
      const before = bytes.get(key) ?? 0;
      bytes.set(key, endsFirst(pod, container) ? Math.max(before, size) : Math.max(0, before - size));
    }
  }

  /** What a container takes over of init containers is written as its own, so that the sum is what is taken. */
  #takeFromInit(pod: Pod, container: Container, blocks: readonly MemoryBlock[]): void {
    const entries = this.#state.entries[pod.metadata.uid] ?? {};
    for (const block of blocks) {
      let left = block.size;
      for (const init of pod.spec.initContainers ?? []) {
        if (init.name === container.name) break;
        if (init.restartPolicy === 'Always') continue;
        for (const other of entries[init.name] ?? []) {
          if (other.type !== block.type || other.numaAffinity.join() !== block.numaAffinity.join()) continue;
          const taken = Math.min(left, other.size);
          other.size -= taken;
          left -= taken;
        }
      }
    }
  }
}

function isMemory(resource: string): boolean {
  return resource === 'memory' || resource.startsWith('hugepages-');
}

function wantedBy(pod: Pod, { resources }: Container): Wanted {
  if (qosClass(pod) !== 'Guaranteed' || hasPodResources(pod)) return new Map();
  const all = { ...resources?.limits, ...resources?.requests };
  return new Map(
    Object.entries(all)
      .filter(([name]) => isMemory(name))
      .map(([name, quantity]) => [name, quantityValue(quantity)]),
  );
}

function wantedTogether(pod: Pod): Wanted {
  const names = new Set(containersOf(pod).flatMap((container) => [...wantedBy(pod, container).keys()]));
  return new Map(
    [...names].map((name) => [name, neededTogether(pod, (container) => wantedBy(pod, container).get(name) ?? 0)]),
  );
}

/** Where it is already; nowhere, when it is something else than what is wanted. */
function hintsOf(has: readonly MemoryBlock[], wanted: Wanted): Hints {
  const hints = new Map<string, Hint[]>();
  for (const [type, size] of wanted) {
    const block = has.find((one) => one.type === type);
    hints.set(type, block && block.size === size ? [{ nodes: block.numaAffinity, preferred: true }] : []);
  }
  return hints;
}
