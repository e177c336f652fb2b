import { matchLabelSelector } from '../../api/index.ts';
import type { ClusterState } from './cluster-state.ts';
import type { NodeInfo } from './node-info.ts';
import { termAccepts, tolerates } from './node-selection.ts';
import type { PodInfo } from './pod-info.ts';

/** One way of ranking nodes. Raw numbers are brought to 0…100; `lowIsGood` turns them round. */
interface Score {
  weight: number;
  /** Whether the raw numbers are 0…100 already. */
  absolute?: boolean;
  lowIsGood?: boolean;
  /** Undefined when it has nothing to say about the pod. */
  prepare(info: PodInfo, cluster: ClusterState, nodes: readonly NodeInfo[]): ((node: NodeInfo) => number) | undefined;
}

const scores: readonly Score[] = [
  { weight: 1, absolute: true, prepare: (info) => (node) => leastAllocated(info, node) },
  { weight: 1, absolute: true, prepare: (info) => (node) => balanced(info, node) },
  {
    // Copies of one thing go to different nodes.
    weight: 2,
    lowIsGood: true,
    prepare: ({ owner }) => (owner ? (node) => node.owners.get(owner) ?? 0 : undefined),
  },
  { weight: 2, prepare: preferredNodes },
  { weight: 3, lowIsGood: true, prepare: softTaints },
  { weight: 2, prepare: preferredPods },
  { weight: 2, lowIsGood: true, prepare: softSpread },
  { weight: 1, absolute: true, prepare: imageLocality },
];

/** The best node for a pod among those that can take it; equals are chosen between by `random` (0…1). */
export function bestNode(
  info: PodInfo,
  nodes: readonly NodeInfo[],
  cluster: ClusterState,
  random: () => number = Math.random,
): NodeInfo {
  if (nodes.length === 1) return nodes[0]!;
  const totals = new Float64Array(nodes.length);
  for (const score of scores) {
    const raw = score.prepare(info, cluster, nodes);
    if (!raw) continue;
    const values = nodes.map(raw);
    const least = score.absolute ? 0 : Math.min(...values);
    const span = score.absolute ? 100 : Math.max(...values) - least;
    if (span === 0) continue;
    values.forEach((value, index) => {
      const normal = ((value - least) * 100) / span;
      totals[index]! += score.weight * (score.lowIsGood ? 100 - normal : normal);
    });
  }
  const best = Math.max(...totals);
  const equal = nodes.filter((_, index) => totals[index]! >= best - 1e-9);
  return equal[Math.floor(random() * equal.length)] ?? nodes[0]!;
}

function shares(info: PodInfo, node: NodeInfo): number[] {
  return (['cpu', 'memory'] as const).map((name) => {
    const total = node.allocatable[name] ?? 0;
    return total === 0 ? 1 : Math.min(1, (node.assumed[name] + info.assumed[name]) / total);
  });
}
function leastAllocated(info: PodInfo, node: NodeInfo): number {
  const [cpu, memory] = shares(info, node);
  return 100 * (1 - (cpu! + memory!) / 2);
}
function balanced(info: PodInfo, node: NodeInfo): number {
  const [cpu, memory] = shares(info, node);
  return 100 * (1 - Math.abs(cpu! - memory!) / 2);
}

function preferredNodes({ pod }: PodInfo): ((node: NodeInfo) => number) | undefined {
  const terms = pod.spec.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  if (terms.length === 0) return undefined;
  return ({ node }) =>
    terms.reduce((sum, { weight, preference }) => sum + (node && termAccepts(preference, node) ? weight : 0), 0);
}

function softTaints({ pod }: PodInfo, _cluster: ClusterState, nodes: readonly NodeInfo[]) {
  const soft = (node: NodeInfo) =>
    (node.node?.spec?.taints ?? []).filter(({ effect }) => effect === 'PreferNoSchedule');
  if (nodes.every((node) => soft(node).length === 0)) return undefined;
  return (node: NodeInfo) => soft(node).filter((taint) => !tolerates(pod.spec.tolerations, taint)).length;
}

/** Preferred (anti-)affinity of the pod, by the weights of the domains that its terms find pods in. */
function preferredPods(info: PodInfo, cluster: ClusterState) {
  if (info.preferredAffinity.length === 0) return undefined;
  const weights = new Map<string, number>();
  for (const { node, pods } of cluster.nodes.values()) {
    for (const term of info.preferredAffinity) {
      const value = node?.metadata.labels?.[term.topologyKey];
      if (value === undefined) continue;
      const domain = `${term.topologyKey}=${value}`;
      for (const other of pods.values()) {
        if (cluster.selects(term, other.pod)) weights.set(domain, (weights.get(domain) ?? 0) + term.weight);
      }
    }
  }
  const keys = [...new Set(info.preferredAffinity.map(({ topologyKey }) => topologyKey))];
  return ({ node }: NodeInfo) =>
    keys.reduce((sum, key) => sum + (weights.get(`${key}=${node?.metadata.labels?.[key]}`) ?? 0), 0);
}

/** ScheduleAnyway spread constraints: fewer pods of the same labels in a domain are better. */
function softSpread({ pod }: PodInfo, cluster: ClusterState) {
  const soft = (pod.spec.topologySpreadConstraints ?? []).filter((one) => one.whenUnsatisfiable === 'ScheduleAnyway');
  if (soft.length === 0) return undefined;
  const namespace = pod.metadata.namespace ?? '';
  const counts = new Map<string, number>();
  for (const { node, pods } of cluster.nodes.values()) {
    for (const { topologyKey, labelSelector } of soft) {
      const domain = `${topologyKey}=${node?.metadata.labels?.[topologyKey]}`;
      for (const other of pods.values()) {
        if (other.pod.metadata.namespace !== namespace || !labelSelector) continue;
        const matches = matchLabelSelector(labelSelector);
        if (matches(other.pod.metadata.labels)) counts.set(domain, (counts.get(domain) ?? 0) + 1);
      }
    }
  }
  return ({ node }: NodeInfo) =>
    soft.reduce(
      (sum, { topologyKey }) => sum + (counts.get(`${topologyKey}=${node?.metadata.labels?.[topologyKey]}`) ?? 0),
      0,
    );
}

const minimumImageBytes = 23 * 1024 * 1024;
const maximumImageBytes = 1000 * 1024 * 1024;

/** Images that are there already, by their size, less for those that few nodes have. */
function imageLocality({ pod }: PodInfo, _cluster: ClusterState, nodes: readonly NodeInfo[]) {
  const images = pod.spec.containers.map(({ image = '' }) => image);
  const spread = new Map(
    images.map((image) => [image, nodes.filter((node) => node.images.has(image)).length / nodes.length]),
  );
  if ([...spread.values()].every((share) => share === 0)) return undefined;
  return (node: NodeInfo) => {
    const bytes = images.reduce((sum, image) => sum + (node.images.get(image) ?? 0) * spread.get(image)!, 0);
    const top = maximumImageBytes * images.length;
    const clamped = Math.min(Math.max(bytes, minimumImageBytes), top);
    return (100 * (clamped - minimumImageBytes)) / (top - minimumImageBytes);
  };
}
