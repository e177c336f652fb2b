import type { ClusterState } from './cluster-state.ts';
import { refusalOf } from './filters.ts';
import type { NodeInfo } from './node-info.ts';
import type { Refusal } from './node-selection.ts';
import type { PodInfo } from './pod-info.ts';
import { TopologyState } from './topology.ts';

/** What making room would take, or why it does not help. */
export type Preemption = { kind: 'victims'; node: string; victims: PodInfo[] } | { kind: 'none'; message: string };

interface Candidate {
  node: NodeInfo;
  victims: PodInfo[];
}

/**
 * Looks for pods of lower priority whose departure lets the pod in: as few and as unimportant as possible.
 * Nodes whose refusal would stand without any pod are not considered.
 */
export function planPreemption(
  info: PodInfo,
  refusals: ReadonlyMap<string, Refusal>,
  cluster: ClusterState,
  nodes: readonly NodeInfo[],
): Preemption {
  if (info.pod.spec.preemptionPolicy === 'Never') {
    return { kind: 'none', message: 'preemption: not eligible due to preemptionPolicy=Never.' };
  }
  const reasons: string[] = [];
  const candidates: Candidate[] = [];
  for (const node of nodes) {
    if (refusals.get(node.name)?.unresolvable ?? true) {
      reasons.push('Preemption is not helpful for scheduling');
      continue;
    }
    const victims = victimsOn(info, node, cluster, nodes);
    if (victims) candidates.push({ node, victims });
    else reasons.push('No preemption victims found for incoming pod');
  }
  if (candidates.length === 0) {
    return { kind: 'none', message: `preemption: ${unavailable(nodes.length, reasons)}` };
  }
  const best = candidates.reduce((a, b) => (compareCandidates(a, b) <= 0 ? a : b));
  return { kind: 'victims', node: best.node.name, victims: best.victims };
}

/** The pods to remove from a node so that the pod fits; undefined when even all of lower priority are not enough. */
function victimsOn(
  info: PodInfo,
  node: NodeInfo,
  cluster: ClusterState,
  nodes: readonly NodeInfo[],
): PodInfo[] | undefined {
  const lower = [...node.pods.values()].filter((other) => other.priority < info.priority);
  if (lower.length === 0) return undefined;
  const view = cluster.withNominated(node, info).clone();
  const others = nodes.map((one) => (one.name === node.name ? view : one));
  const fits = () => !refusalOf(info, view, new TopologyState(info, cluster, others));
  for (const { uid } of lower) view.remove(uid);
  if (!fits()) return undefined;
  // The most important and longest running are spared first, as many as fit.
  const victims: PodInfo[] = [];
  for (const other of lower.sort(moreImportantFirst)) {
    view.add(other);
    if (fits()) continue;
    view.remove(other.uid);
    victims.push(other);
  }
  return victims;
}

function moreImportantFirst(a: PodInfo, b: PodInfo): number {
  return b.priority - a.priority || startOf(a) - startOf(b);
}
function startOf({ pod }: PodInfo): number {
  return Date.parse(pod.status?.startTime ?? pod.metadata.creationTimestamp ?? '') || 0;
}

/** Lower highest priority, then lower sum, then fewer, then the younger. */
function compareCandidates(a: Candidate, b: Candidate): number {
  const highest = ({ victims }: Candidate) => Math.max(...victims.map(({ priority }) => priority));
  const sum = ({ victims }: Candidate) => victims.reduce((total, { priority }) => total + priority + 2 ** 31, 0);
  const earliest = ({ victims }: Candidate) => Math.min(...victims.map(startOf));
  return highest(a) - highest(b) || sum(a) - sum(b) || a.victims.length - b.victims.length || earliest(b) - earliest(a);
}

/** `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.` */
export function unavailable(nodes: number, reasons: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const parts = [...counts].map(([reason, count]) => `${count} ${reason}`).sort();
  return `0/${nodes} nodes are available: ${parts.join(', ')}.`;
}
