import type { ClusterState } from './cluster-state.ts';
import { refusalOf } from './filters.ts';
import type { NodeInfo } from './node-info.ts';
import type { Refusal } from './node-selection.ts';
import type { PodInfo } from './pod-info.ts';
import { type Preemption, planPreemption, unavailable } from './preemption.ts';
import { bestNode } from './scores.ts';
import { TopologyState } from './topology.ts';

/** What to do with a pod that needs a node. */
export type Decision =
  | { kind: 'place'; node: string }
  | {
      kind: 'refuse';
      /** As the condition and the event tell it. */
      message: string;
      /** Whether where other pods are had a part in it. */
      aboutPods: boolean;
      preemption: Preemption;
    };

/** Looking at every node of a large cluster is not worth it: this many that fit are enough to choose from. */
function enoughNodes(nodes: number): number {
  if (nodes <= 100) return nodes;
  const percent = Math.max(5, 50 - nodes / 125);
  return Math.max(100, Math.floor((nodes * percent) / 100));
}

/** Chooses a node for a pod, or says why there is none. `start` turns with every pod, so that all nodes get their turn. */
export function decide(info: PodInfo, cluster: ClusterState, start = 0): Decision {
  const nodes = cluster.liveNodes();
  if (nodes.length === 0) {
    const preemption: Preemption = { kind: 'none', message: 'preemption: 0/0 nodes are available.' };
    return { kind: 'refuse', message: 'no nodes available to schedule pods', aboutPods: false, preemption };
  }
  const topology = new TopologyState(info, cluster, nodes);
  const { problem } = topology.volumes ?? {};
  if (problem) return refuseEverywhere(problem, nodes.length);
  const fitting: NodeInfo[] = [];
  const refusals = new Map<string, Refusal>();
  const enough = enoughNodes(nodes.length);
  const nominated = cluster.nominatedNode(info.uid);
  for (let i = 0; i < nodes.length && fitting.length < enough; i++) {
    const node = nodes[(start + i) % nodes.length]!;
    const refusal = refusalOf(info, cluster.withNominated(node, info), topology);
    if (refusal) refusals.set(node.name, refusal);
    else if (node.name === nominated) return { kind: 'place', node: node.name };
    else fitting.push(node);
  }
  if (fitting.length > 0) return { kind: 'place', node: bestNode(info, fitting, cluster).name };
  return refuse(info, cluster, nodes, refusals);
}

/** Something about the pod itself is not ready: no node, and no departure of other pods, would help. */
function refuseEverywhere(problem: string, nodes: number): Decision {
  const unhelpful = unavailable(nodes, Array<string>(nodes).fill('Preemption is not helpful for scheduling'));
  const preemption: Preemption = { kind: 'none', message: `preemption: ${unhelpful}` };
  const message = `0/${nodes} nodes are available: ${problem}. ${preemption.message}`;
  return { kind: 'refuse', message, aboutPods: false, preemption };
}

function refuse(
  info: PodInfo,
  cluster: ClusterState,
  nodes: readonly NodeInfo[],
  refusals: ReadonlyMap<string, Refusal>,
): Decision {
  const reasons = [...refusals.values()].flatMap((refusal) => refusal.reasons);
  const preemption: Preemption = waitsForVictims(info, cluster)
    ? { kind: 'none', message: 'preemption: not eligible due to a terminating pod on the nominated node.' }
    : planPreemption(info, refusals, cluster, nodes);
  const after = preemption.kind === 'none' ? ` ${preemption.message}` : '';
  return {
    kind: 'refuse',
    message: `${unavailable(nodes.length, reasons)}${after}`,
    aboutPods: reasons.some((reason) => /affinity rules|spread/.test(reason)),
    preemption,
  };
}

/** Whether pods that were asked to make room are still leaving: no more must be asked meanwhile. */
function waitsForVictims(info: PodInfo, cluster: ClusterState): boolean {
  const node = cluster.nodes.get(cluster.nominatedNode(info.uid) ?? '');
  if (!node) return false;
  return [...node.pods.values()].some(
    ({ pod, priority }) => pod.metadata.deletionTimestamp && priority < info.priority,
  );
}
