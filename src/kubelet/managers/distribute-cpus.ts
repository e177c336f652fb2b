import type { CpuSet } from './cpu-set.ts';
import type { MachineTopology } from './machine-topology.ts';
import { type TakeOptions, takeCpus } from './take-cpus.ts';

interface Choice {
  nodes: number[];
  /** Nodes that give the rest which cannot be divided. */
  remainder: number[];
  balance: number;
}

/**
 * Chooses processors in equal numbers from as few NUMA nodes as will do, in groups (whole cores, or 1). What cannot be
 * divided comes from the nodes that leave the machine most balanced. Pure.
 * @throws Error when there are too few
 */
export function distributeCpus(
  topology: MachineTopology,
  available: CpuSet,
  count: number,
  groupSize: number,
  options: TakeOptions = {},
): Set<number> {
  if (count === 0 || count % groupSize !== 0 || count > available.size)
    return takeCpus(topology, available, count, options);
  const free = new Map<number, Set<number>>();
  for (const { cpu, node } of topology.cpus)
    if (available.has(cpu)) free.set(node, (free.get(node) ?? new Set()).add(cpu));
  const nodes = [...free.keys()].sort((a, b) => free.get(a)!.size - free.get(b)!.size || a - b);
  const groups = count / groupSize;
  const perNode = Math.ceil(Math.ceil(topology.cpus.length / groupSize) / topology.nodes.length);
  for (let size = Math.ceil(groups / perNode); size <= Math.min(groups, nodes.length); size++) {
    const choice = bestOf(nodes, size, free, count, groupSize);
    if (choice) return takeChosen(topology, free, count, groupSize, choice, options);
  }
  return takeCpus(topology, available, count, options);
}

function bestOf(
  nodes: readonly number[],
  size: number,
  free: ReadonlyMap<number, CpuSet>,
  count: number,
  groupSize: number,
): Choice | undefined {
  let best: Choice | undefined;
  for (const combination of combinations(nodes, size)) {
    const groups = combination.reduce((sum, node) => sum + Math.floor(free.get(node)!.size / groupSize), 0);
    const each = Math.floor(count / size / groupSize) * groupSize;
    if (groups * groupSize < count || combination.some((node) => free.get(node)!.size < each)) continue;
    const left = new Map(nodes.map((node) => [node, free.get(node)!.size - (combination.includes(node) ? each : 0)]));
    const choice = withRemainder(combination, left, count - each * size, groupSize);
    if (choice && (!best || choice.balance < best.balance)) best = choice;
  }
  return best;
}

/** Which of the nodes give the rest; as many as can. */
function withRemainder(
  nodes: number[],
  left: ReadonlyMap<number, number>,
  remainder: number,
  groupSize: number,
): Choice | undefined {
  if (remainder === 0) return { nodes, remainder: [], balance: deviation([...left.values()]) };
  const able = nodes.filter((node) => left.get(node)! >= groupSize);
  let best: Choice | undefined;
  for (let size = able.length; size >= 1; size--) {
    for (const subset of combinations(able, size)) {
      if (subset.reduce((sum, node) => sum + left.get(node)!, 0) < remainder) continue;
      const after = new Map(left);
      const rest = handOut(subset, remainder, groupSize, after);
      if (rest > 0) continue;
      const balance = deviation([...after.values()]);
      if (!best || balance < best.balance) best = { nodes, remainder: subset, balance };
    }
  }
  return best;
}

/** Takes groups from one node after another; gives what could not be had. */
function handOut(nodes: readonly number[], count: number, groupSize: number, left: Map<number, number>): number {
  let rest = count;
  for (let moved = true; rest > 0 && moved; ) {
    moved = false;
    for (const node of nodes) {
      if (rest === 0 || left.get(node)! < groupSize) continue;
      left.set(node, left.get(node)! - groupSize);
      rest -= groupSize;
      moved = true;
    }
  }
  return rest;
}

function takeChosen(
  topology: MachineTopology,
  free: ReadonlyMap<number, Set<number>>,
  count: number,
  groupSize: number,
  { nodes, remainder }: Choice,
  options: TakeOptions,
): Set<number> {
  const each = Math.floor(count / nodes.length / groupSize) * groupSize;
  let taken = new Set<number>();
  for (const node of nodes) taken = taken.union(takeCpus(topology, free.get(node)!, each, options));
  while (taken.size < count) {
    for (const node of remainder) {
      const left = free.get(node)!.difference(taken);
      if (taken.size < count && left.size >= groupSize)
        taken = taken.union(takeCpus(topology, left, groupSize, options));
    }
  }
  return taken;
}

/** Every way to choose `size` of the items, in their order. */
export function* combinations<T>(items: readonly T[], size: number, from = 0): Generator<T[]> {
  if (size === 0) {
    yield [];
    return;
  }
  for (let at = from; at <= items.length - size; at++)
    for (const rest of combinations(items, size - 1, at + 1)) yield [items[at]!, ...rest];
}

function deviation(values: readonly number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  // Rounded: sums of the same numbers in another order must compare equal.
  return Math.round(Math.sqrt(variance) * 1000) / 1000;
}
