import type { Taint } from '../../api/index.ts';
import type { NodeInfo } from './node-info.ts';
import { podSelectsNode, type Refusal, tolerates } from './node-selection.ts';
import type { HostPort, PodInfo } from './pod-info.ts';
import type { TopologyState } from './topology.ts';

type Filter = (info: PodInfo, node: NodeInfo, topology: TopologyState) => Refusal | undefined;

const refuse = (reason: string, unresolvable = true): Refusal => ({ reasons: [reason], unresolvable });

/** In upstream's order: the first refusal is the one that is told. */
const filters: readonly Filter[] = [
  unschedulable,
  nodeName,
  taints,
  nodeAffinity,
  ports,
  resources,
  (_info, node, topology) => topology.volumes?.refusal(node),
  (info, node, topology) => topology.refusesSpread(info, node),
  (info, node, topology) => topology.refusesAffinity(info, node),
];

/** Why the node cannot take the pod; undefined when it can. */
export function refusalOf(info: PodInfo, node: NodeInfo, topology: TopologyState): Refusal | undefined {
  for (const filter of filters) {
    const refusal = filter(info, node, topology);
    if (refusal) return refusal;
  }
  return undefined;
}

const unschedulableTaint: Taint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' };

function unschedulable({ pod }: PodInfo, { node }: NodeInfo): Refusal | undefined {
  if (!node?.spec?.unschedulable || tolerates(pod.spec.tolerations, unschedulableTaint)) return undefined;
  return refuse('node(s) were unschedulable');
}

function nodeName({ pod }: PodInfo, node: NodeInfo): Refusal | undefined {
  if (!pod.spec.nodeName || pod.spec.nodeName === node.name) return undefined;
  return refuse("node(s) didn't match the requested node name");
}

function taints({ pod }: PodInfo, { node }: NodeInfo): Refusal | undefined {
  const hard = (node?.spec?.taints ?? []).filter(({ effect }) => effect === 'NoSchedule' || effect === 'NoExecute');
  if (hard.every((taint) => tolerates(pod.spec.tolerations, taint))) return undefined;
  return refuse('node(s) had untolerated taint(s)');
}

function nodeAffinity({ pod }: PodInfo, { node }: NodeInfo): Refusal | undefined {
  if (!node || podSelectsNode(pod, node)) return undefined;
  return refuse("node(s) didn't match Pod's node affinity/selector");
}

function ports(info: PodInfo, node: NodeInfo): Refusal | undefined {
  if (info.ports.length === 0) return undefined;
  const taken = [...node.ports.values()];
  if (!info.ports.some((port) => taken.some((other) => portsCollide(port, other)))) return undefined;
  return refuse("node(s) didn't have free ports for the requested pod ports", false);
}

function portsCollide(a: HostPort, b: HostPort): boolean {
  if (a.port !== b.port || a.protocol !== b.protocol) return false;
  return a.ip === b.ip || a.ip === '0.0.0.0' || b.ip === '0.0.0.0';
}

function resources(info: PodInfo, node: NodeInfo): Refusal | undefined {
  const reasons: string[] = [];
  let unresolvable = false;
  const limit = node.allocatable['pods'];
  if (limit !== undefined && node.pods.size + 1 > limit) reasons.push('Too many pods');
  for (const [name, amount] of Object.entries(info.requests)) {
    if (amount === 0) continue;
    const total = node.allocatable[name] ?? 0;
    if (amount <= total - (node.requested[name] ?? 0)) continue;
    reasons.push(`Insufficient ${name}`);
    if (amount > total) unresolvable = true;
  }
  return reasons.length > 0 ? { reasons, unresolvable } : undefined;
}
