import { combinations } from './distribute-cpus.ts';
import type { NumaNode } from './machine-topology.ts';

/** Numbers of NUMA nodes, ascending. */
export type Nodes = readonly number[];

/** A place where something could be had. */
export interface Hint {
  /** On these NUMA nodes; undefined: it does not matter. */
  nodes: Nodes | undefined;
  /** As good as it gets for this resource. */
  preferred: boolean;
}

/**
 * What one provider says of one container, by resource. No entry: the resource does not matter; an empty list: there is
 * no place for it.
 */
export type Hints = ReadonlyMap<string, readonly Hint[]>;

/** The values of topologyManagerPolicy. */
export const topologyPolicies = ['none', 'best-effort', 'restricted', 'single-numa-node'] as const;
export type TopologyPolicy = (typeof topologyPolicies)[number];

/** The merge of all hints, and whether the pod is let in with it. */
export interface Affinity {
  nodes: Nodes | undefined;
  admitted: boolean;
  preferred: boolean;
}

/** Every set of the nodes, small ones first. */
export function* everySet(nodes: Nodes): Generator<Nodes> {
  for (let size = 1; size <= nodes.length; size++) yield* combinations(nodes, size);
}

/** Finds the place that suits all resources best. Pure. */
export function mergeHints(
  policy: Exclude<TopologyPolicy, 'none'>,
  numaNodes: readonly NumaNode[],
  providers: readonly Hints[],
  options: { preferClosest: boolean } = { preferClosest: false },
): Affinity {
  const all = numaNodes.map(({ id }) => id);
  const single = policy === 'single-numa-node';
  const lists = listsOf(providers).map((list) =>
    single ? list.filter(({ nodes, preferred }) => preferred && (nodes === undefined || nodes.length === 1)) : list,
  );
  const closer = !single && options.preferClosest;
  const better = (a: Nodes, b: Nodes) => (closer ? compareDistance(a, b, numaNodes) : compareWidth(a, b));
  const leastWidth = Math.max(0, ...lists.map(narrowest));
  let best: { nodes: Nodes; preferred: boolean } | undefined;
  for (const choice of choices(lists)) {
    const merged = mergeChoice(choice, all);
    if (merged.nodes.length > 0 && (!best || isBetter(merged, best, leastWidth, better))) best = merged;
  }
  const found = best ?? { nodes: all, preferred: false };
  const admitted = policy === 'best-effort' || found.preferred;
  const everywhere = single && found.nodes.length === all.length;
  return { nodes: everywhere ? undefined : found.nodes, preferred: found.preferred, admitted };
}

function listsOf(providers: readonly Hints[]): (readonly Hint[])[] {
  const indifferent: Hint[] = [{ nodes: undefined, preferred: true }];
  const nowhere: Hint[] = [{ nodes: undefined, preferred: false }];
  return providers.flatMap((hints) =>
    hints.size === 0 ? [indifferent] : [...hints.values()].map((list) => (list.length === 0 ? nowhere : list)),
  );
}

/** How many nodes the narrowest of the hints has. */
function narrowest(list: readonly Hint[]): number {
  const widths = list.flatMap(({ nodes }) => (nodes ? [nodes.length] : []));
  return widths.length > 0 ? Math.min(...widths) : 0;
}

function* choices(lists: readonly (readonly Hint[])[], at = 0): Generator<Hint[]> {
  if (at === lists.length) {
    yield [];
    return;
  }
  for (const hint of lists[at]!) for (const rest of choices(lists, at + 1)) yield [hint, ...rest];
}

/** What all of these have in common; preferred only when all want the very same nodes and prefer them. */
function mergeChoice(choice: readonly Hint[], all: Nodes): { nodes: Nodes; preferred: boolean } {
  const given = choice.flatMap(({ nodes }) => (nodes ? [nodes] : []));
  const same = given.every((nodes) => nodes.join() === given[0]!.join());
  return {
    nodes: given.reduce((common, nodes) => common.filter((node) => nodes.includes(node)), all),
    preferred: same && choice.every(({ preferred }) => preferred),
  };
}

function isBetter(
  candidate: { nodes: Nodes; preferred: boolean },
  current: { nodes: Nodes; preferred: boolean },
  leastWidth: number,
  compare: (a: Nodes, b: Nodes) => number,
): boolean {
  if (candidate.preferred !== current.preferred) return candidate.preferred;
  const nearer = compare(candidate.nodes, current.nodes) < 0;
  if (candidate.preferred) return nearer;
  // Nothing is narrower than the resource that needs most nodes: the nearest to that width is best.
  const now = current.nodes.length;
  const then = candidate.nodes.length;
  if (now > leastWidth) return nearer;
  if (now === leastWidth) return then === leastWidth && nearer;
  if (then > leastWidth) return false;
  if (then === leastWidth) return true;
  return then === now ? nearer : then > now;
}

/** Fewer nodes first, then lower numbers. */
export function compareWidth(a: Nodes, b: Nodes): number {
  return a.length - b.length || value(a) - value(b);
}

function compareDistance(a: Nodes, b: Nodes, numaNodes: readonly NumaNode[]): number {
  if (a.length !== b.length) return a.length - b.length;
  return averageDistance(a, numaNodes) - averageDistance(b, numaNodes) || value(a) - value(b);
}

/** The set as a number whose bits are the nodes. */
function value(nodes: Nodes): number {
  return nodes.reduce((sum, node) => sum + 2 ** node, 0);
}

function averageDistance(nodes: Nodes, numaNodes: readonly NumaNode[]): number {
  let sum = 0;
  for (const from of nodes) {
    const { distances } = numaNodes.find(({ id }) => id === from)!;
    for (const to of nodes) sum += distances[to] ?? 10;
  }
  return sum / nodes.length ** 2;
}
