import { type Container, type Pod, quantityMilli } from '../../api/index.ts';
import type { Logger } from '../../log/index.ts';
import { ConfigurationError } from '../errors.ts';
import type { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import { qosClass } from '../pods/container-resources.ts';
import type { CpuOptions } from './cpu-options.ts';
import { type CpuSet, formatCpuSet } from './cpu-set.ts';
import { type CpuState, readCpuState, writeCpuState } from './cpu-state.ts';
import { distributeCpus } from './distribute-cpus.ts';
import { type MachineTopology, threadsPerCore } from './machine-topology.ts';
import {
  AllocationError,
  containersOf,
  endsFirst,
  hasPodResources,
  neededTogether,
  type ResourceProvider,
} from './resource-provider.ts';
import { takeCpus } from './take-cpus.ts';
import { everySet, type Hint, type Hints, type Nodes } from './topology-hints.ts';

/** What a CPU manager needs. */
export interface CpuManagerOptions {
  topology: MachineTopology;
  options: CpuOptions;
  /** Processors that nobody gets for itself: these, or as many as are reserved. */
  reserved: CpuSet | number;
  /** `<root>/cpu_manager_state`. */
  file: string;
  metrics: KubeletMetrics;
  log: Logger;
}

/**
 * The static policy: containers of Guaranteed pods that ask for whole processors get some for themselves; all others
 * share the rest. What is whose is written down before a pod is let in, and read again after a restart.
 */
export class CpuManager implements ResourceProvider {
  readonly name = 'cpu';
  readonly #config: CpuManagerOptions;
  readonly #reserved: CpuSet;
  /** Reserved processors with the other threads of their cores. */
  readonly #reservedCores: CpuSet;
  readonly #all: CpuSet;
  #state: CpuState = { shared: new Set(), assigned: new Map() };
  /** What the init containers of the pod that is being let in leave to those after them. */
  #reusable: { podUid: string; cpus: Set<number> } = { podUid: '', cpus: new Set() };

  constructor(config: CpuManagerOptions) {
    this.#config = config;
    const { topology, options, reserved } = config;
    const { cpus } = topology;
    this.#all = new Set(cpus.map(({ cpu }) => cpu));
    if (typeof reserved === 'number' && reserved > cpus.length)
      throw new ConfigurationError('kubeReserved', `reserves ${reserved} processors of ${cpus.length}`);
    this.#reserved = typeof reserved === 'number' ? this.#choose(this.#all, reserved) : reserved;
    const unknown = this.#reserved.difference(this.#all);
    if (unknown.size > 0)
      throw new ConfigurationError(
        'reservedSystemCPUs',
        `there are no processors ${formatCpuSet(unknown)} on this machine`,
      );
    const cores = new Set(cpus.filter(({ cpu }) => this.#reserved.has(cpu)).map(({ core }) => core));
    this.#reservedCores = new Set(cpus.filter(({ core }) => cores.has(core)).map(({ cpu }) => cpu));
    const sockets = new Set(cpus.map(({ socket }) => socket)).size;
    if (options.alignBySocket && sockets > topology.nodes.length)
      throw new ConfigurationError(
        'cpuManagerPolicyOptions',
        'align-by-socket needs at least as many NUMA nodes as sockets',
      );
  }

  /** Takes over the state file, or begins one. @throws ConfigurationError when it does not fit this machine or configuration */
  async start(): Promise<void> {
    const { file, options, log } = this.#config;
    const shareable = options.strictReservation ? this.#all.difference(this.#reserved) : new Set(this.#all);
    const found = await readCpuState(file, 'static');
    if (found && found.shared.size > 0) this.#check(found);
    else if (found && found.assigned.size > 0) this.#refuse('its shared set is empty');
    this.#state = found && found.shared.size > 0 ? found : { shared: shareable, assigned: new Map() };
    await this.#write();
    log.info('cpu manager starts', {
      reserved: formatCpuSet(this.#reserved),
      shared: formatCpuSet(this.#state.shared),
      pods: this.#state.assigned.size,
    });
  }

  /** Sets the gauges of metrics. */
  measure(): void {
    const { metrics, topology } = this.#config;
    const given = [...this.#state.assigned.values()].flatMap((containers) => [...containers.values()]);
    const all = given.reduce((sum, cpus) => sum.union(cpus), new Set<number>());
    metrics.set('kubelet_cpu_manager_shared_pool_size_millicores', this.#free().size * 1000);
    metrics.set('kubelet_cpu_manager_exclusive_cpu_allocation_count', all.size);
    for (const { id } of topology.nodes) {
      const there = topology.cpus.filter(({ cpu, node }) => node === id && all.has(cpu)).length;
      metrics.set('kubelet_cpu_manager_allocation_per_numa', there, { numa_node: String(id) });
    }
  }

  /** Processors that may be given away. */
  get allocatable(): CpuSet {
    return this.#all.difference(this.#reserved);
  }

  /** The processors that a container may run on. */
  cpusOf(podUid: string, container: string): CpuSet {
    return this.#state.assigned.get(podUid)?.get(container) ?? this.#state.shared;
  }

  /** The processors that a container has for itself; undefined for none. */
  exclusiveOf(podUid: string, container: string): CpuSet | undefined {
    return this.#state.assigned.get(podUid)?.get(container);
  }

  /** Pods that have processors for themselves. */
  podUids(): string[] {
    return [...this.#state.assigned.keys()];
  }

  hints(pod: Pod, container: Container): Hints {
    const count = wholeCpus(pod, container);
    if (count === 0) return new Map();
    const has = this.exclusiveOf(pod.metadata.uid, container.name);
    if (has && has.size !== count) return new Map([['cpu', []]]);
    const [free, must] = has ? [new Set<number>(), has] : [this.#free(), this.#reusableOf(pod)];
    return new Map([['cpu', this.#places(free, must, count)]]);
  }

  podHints(pod: Pod): Hints {
    const count = neededTogether(pod, (container) => wholeCpus(pod, container));
    if (count === 0) return new Map();
    let has = new Set<number>();
    for (const container of containersOf(pod)) {
      const one = this.exclusiveOf(pod.metadata.uid, container.name);
      if (one && one.size !== wholeCpus(pod, container)) return new Map([['cpu', []]]);
      if (one) has = has.union(one);
    }
    if (has.size === count) return new Map([['cpu', this.#places(new Set(), has, count)]]);
    return new Map([['cpu', this.#places(this.#free(), this.#reusableOf(pod).union(has), count)]]);
  }

  async allocate(pod: Pod, container: Container, nodes: Nodes | undefined): Promise<void> {
    const count = wholeCpus(pod, container);
    if (count === 0) return;
    this.#config.metrics.count('kubelet_cpu_manager_pinning_requests_total');
    try {
      await this.#give(pod, container, count, nodes);
    } catch (error) {
      this.#config.metrics.count('kubelet_cpu_manager_pinning_errors_total');
      throw error;
    }
  }

  async #give(pod: Pod, container: Container, count: number, nodes: Nodes | undefined): Promise<void> {
    this.#checkCores(count);
    const { uid } = pod.metadata;
    const known = this.exclusiveOf(uid, container.name);
    if (known) return this.#noteReusable(pod, container, known);
    const free = this.#free().union(this.#reusableOf(pod));
    const near = nodes ? this.#near(nodes, free) : new Set<number>();
    const first = this.#choose(near, Math.min(count, near.size));
    const cpus = first.union(this.#choose(free.difference(first), count - first.size));
    this.#state.shared = this.#state.shared.difference(cpus);
    const containers = this.#state.assigned.get(uid) ?? new Map<string, Set<number>>();
    this.#state.assigned.set(uid, containers.set(container.name, cpus));
    this.#noteReusable(pod, container, cpus);
    await this.#write();
  }

  async release(podUid: string): Promise<void> {
    const containers = this.#state.assigned.get(podUid);
    if (this.#reusable.podUid === podUid) this.#reusable = { podUid: '', cpus: new Set() };
    if (!containers) return;
    this.#state.assigned.delete(podUid);
    for (const cpus of containers.values()) this.#state.shared = this.#state.shared.union(cpus);
    await this.#write();
  }

  #write(): Promise<void> {
    return writeCpuState(this.#config.file, 'static', this.#state);
  }

  #refuse(why: string): never {
    const { file } = this.#config;
    throw new ConfigurationError(
      'cpuManagerPolicy',
      `${file} does not fit: ${why}; drain the node and remove the file`,
    );
  }

  #check({ shared, assigned }: CpuState): void {
    const { options } = this.#config;
    if (options.strictReservation && !shared.isDisjointFrom(this.#reserved))
      this.#refuse(`reserved processors ${formatCpuSet(shared.intersection(this.#reserved))} are shared`);
    if (!options.strictReservation && !this.#reserved.isSubsetOf(shared))
      this.#refuse(
        `not all reserved processors ${formatCpuSet(this.#reserved)} are in its shared set ${formatCpuSet(shared)}`,
      );
    let known = options.strictReservation ? shared.union(this.#reserved) : shared;
    for (const [pod, containers] of assigned) {
      for (const [name, cpus] of containers) {
        if (!shared.isDisjointFrom(cpus))
          this.#refuse(`container ${name} of pod ${pod} has processors that are shared`);
        known = known.union(cpus);
      }
    }
    if (formatCpuSet(known) !== formatCpuSet(this.#all))
      this.#refuse(`it knows processors ${formatCpuSet(known)}, and the machine has ${formatCpuSet(this.#all)}`);
  }

  #choose(from: CpuSet, count: number): Set<number> {
    const { topology, options } = this.#config;
    const { spreadOverCores, preferCache, fullCores } = options;
    const how = { spreadOverCores, preferCache };
    if (!options.distributeOverNodes) return takeCpus(topology, from, count, how);
    return distributeCpus(topology, from, count, fullCores ? threadsPerCore(topology) : 1, { spreadOverCores });
  }

  #free(): Set<number> {
    return this.#state.shared.difference(this.#reserved);
  }

  #reusableOf(pod: Pod): CpuSet {
    return this.#reusable.podUid === pod.metadata.uid ? this.#reusable.cpus : new Set();
  }

  #noteReusable(pod: Pod, container: Container, cpus: CpuSet): void {
    const before = this.#reusableOf(pod);
    const now = endsFirst(pod, container) ? before.union(cpus) : before.difference(cpus);
    this.#reusable = { podUid: pod.metadata.uid, cpus: now };
  }

  #checkCores(count: number): void {
    const { options, topology } = this.#config;
    if (!options.fullCores) return;
    const threads = threadsPerCore(topology);
    const refuse = (why: string) => new AllocationError('SMTAlignmentError', `SMT Alignment Error: ${why}`);
    if (count % threads !== 0) throw refuse(`requested ${count} cpus not multiple cpus per core = ${threads}`);
    const free = this.#state.shared.difference(this.#reservedCores).size;
    if (count > free)
      throw refuse(
        `not enough free physical CPUs: available physical CPUs = ${free}, requested CPUs = ${count}, CPUs per core = ${threads}`,
      );
  }

  /** The processors on (or, by sockets, around) these nodes. */
  #near(nodes: Nodes, from: CpuSet): Set<number> {
    const { topology, options } = this.#config;
    const on = topology.cpus.filter(({ node }) => nodes.includes(node));
    const sockets = new Set(on.map(({ socket }) => socket));
    const near = options.alignBySocket ? topology.cpus.filter(({ socket }) => sockets.has(socket)) : on;
    return from.intersection(new Set(near.map(({ cpu }) => cpu)));
  }

  /** Sets of nodes that have enough processors, those with as few nodes as the machine allows preferred. */
  #places(free: CpuSet, must: CpuSet, count: number): Hint[] {
    const { topology, options } = this.#config;
    const nodes = topology.nodes.map(({ id }) => id);
    const found: Nodes[] = [];
    let least = nodes.length;
    for (const set of everySet(nodes)) {
      const on = topology.cpus.filter(({ node }) => set.includes(node)).map(({ cpu }) => cpu);
      if (on.length >= count) least = Math.min(least, set.length);
      if (!must.isSubsetOf(new Set(on))) continue;
      if (must.size + on.filter((cpu) => free.has(cpu) && !must.has(cpu)).length >= count) found.push(set);
    }
    return found.map((set) => ({
      nodes: set,
      preferred: set.length === least || (options.alignBySocket && this.#onFewSockets(set, least)),
    }));
  }

  #onFewSockets(set: Nodes, least: number): boolean {
    const { cpus, nodes } = this.#config.topology;
    const sockets = new Set(cpus.map(({ socket }) => socket)).size;
    const perSocket = Math.floor(nodes.length / sockets);
    const used = new Set(cpus.filter(({ node }) => set.includes(node)).map(({ socket }) => socket)).size;
    return perSocket > 0 && used === Math.ceil(least / perSocket);
  }
}

/** How many processors the container gets for itself: whole ones, in a Guaranteed pod. */
export function wholeCpus(pod: Pod, { resources }: Container): number {
  if (qosClass(pod) !== 'Guaranteed' || hasPodResources(pod)) return 0;
  const milli = quantityMilli(resources?.requests?.['cpu'] ?? resources?.limits?.['cpu'] ?? '0');
  return milli % 1000 === 0 ? milli / 1000 : 0;
}
