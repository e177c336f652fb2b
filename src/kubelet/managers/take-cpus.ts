import type { CpuSet } from './cpu-set.ts';
import { type CpuPlace, type MachineTopology, threadsPerCore } from './machine-topology.ts';

/** How processors are chosen. */
export interface TakeOptions {
  /** Threads of different cores rather than whole cores. */
  spreadOverCores?: boolean;
  /** Keep together what shares a last-level cache, if that can be. */
  preferCache?: boolean;
}

/** The parts of a machine, by the field that numbers them. */
type Level = 'node' | 'socket' | 'cache' | 'core';

/**
 * Chooses `count` of the available processors so that they are near each other: whole NUMA nodes and sockets where the
 * count asks for them, then whole cores, then threads of cores that are in use already. Of several parts the one with
 * the fewest free processors is used up first. Pure.
 * @throws Error when there are too few
 */
export function takeCpus(
  topology: MachineTopology,
  available: CpuSet,
  count: number,
  options: TakeOptions = {},
): Set<number> {
  if (count > available.size)
    throw new Error(`not enough cpus available to satisfy request: requested=${count}, available=${available.size}`);
  const taker = new Taker(topology, available, count);
  const [outer, inner] = taker.levels;
  taker.takeWhole(outer);
  taker.takeWhole(inner);
  if (options.preferCache) taker.takeByCache();
  if (!options.spreadOverCores) taker.takeWhole('core');
  taker.takeThreads(options.spreadOverCores ?? false);
  return taker.taken;
}

/** Takes processors one part after another until it has enough. */
class Taker {
  readonly taken = new Set<number>();
  readonly levels: readonly [Level, Level];
  readonly #topology: MachineTopology;
  #free: CpuPlace[];
  #needed: number;

  constructor(topology: MachineTopology, available: CpuSet, count: number) {
    this.#topology = topology;
    this.#free = topology.cpus.filter(({ cpu }) => available.has(cpu));
    this.#needed = count;
    const sockets = new Set(topology.cpus.map(({ socket }) => socket)).size;
    // The larger parts come first.
    this.levels = sockets >= topology.nodes.length ? ['node', 'socket'] : ['socket', 'node'];
  }

  takeWhole(level: Level): void {
    for (const id of this.#sorted(level)) {
      const all = this.#topology.cpus.filter((place) => place[level] === id);
      const free = this.#free.filter((place) => place[level] === id);
      if (free.length === all.length && this.#needed >= all.length) this.#take(free);
    }
  }

  /** Whole caches first, then as much of one as is needed, if one has it. */
  takeByCache(): void {
    const size = this.#topology.cpus.length / new Set(this.#topology.cpus.map(({ cache }) => cache)).size;
    const threads = threadsPerCore(this.#topology);
    for (const cache of this.#sorted('cache')) {
      if (this.#needed >= size) this.takeWhole('cache');
      if (this.#needed === 0) return;
      const free = this.#free.filter((place) => place.cache === cache);
      const cores = [...new Set(free.map(({ core }) => core))].sort((a, b) => a - b);
      const wanted = new Set(cores.slice(0, Math.ceil(this.#needed / threads)));
      let part = free.filter(({ core }) => wanted.has(core)).sort((a, b) => a.cpu - b.cpu);
      // An odd count leaves one thread of its last core.
      if (this.#needed % 2 !== 0 && threads > 1 && part.length > this.#needed) part = part.slice(0, -1);
      if (part.length === this.#needed) this.#take(part);
    }
  }

  takeThreads(spread: boolean): void {
    const level = spread ? 'socket' : 'core';
    const order = this.#sorted(level).flatMap((id) =>
      this.#free.filter((place) => place[level] === id).sort((a, b) => a.cpu - b.cpu),
    );
    this.#take(order.slice(0, this.#needed));
  }

  #take(places: readonly CpuPlace[]): void {
    for (const { cpu } of places) this.taken.add(cpu);
    this.#free = this.#free.filter(({ cpu }) => !this.taken.has(cpu));
    this.#needed -= places.length;
  }

  /** The parts of a level that have free processors, in the order in which they are used up. */
  #sorted(level: Level): number[] {
    const [outer, inner] = this.levels;
    if (level === outer) return this.#bySize(level, this.#free);
    // Caches and cores are sorted within the parts that hold them.
    const within = level === inner ? outer : level === 'cache' ? 'node' : inner;
    const order = this.#sorted(within).flatMap((id) =>
      this.#bySize(
        level,
        this.#free.filter((place) => place[within] === id),
      ),
    );
    return [...new Set(order)];
  }

  #bySize(level: Level, places: readonly CpuPlace[]): number[] {
    const size = (id: number) => this.#free.filter((place) => place[level] === id).length;
    return [...new Set(places.map((place) => place[level]))].sort((a, b) => size(a) - size(b) || a - b);
  }
}
