import { type Node, type Pod, quantityMilli } from '../../api/index.ts';
import { hostPorts } from '../pods/container-resources.ts';
import { isStaticPod } from '../pods/names.ts';
import { podRequests } from '../resources/pod-requests.ts';
import { matchesNodeAffinity } from './node-affinity.ts';

/** One thing that does not fit. */
export type Misfit =
  | { kind: 'predicate'; name: string; message: string }
  /** Amounts are whole units, of processors thousandths. */
  | { kind: 'resource'; resource: string; requested: number; used: number; capacity: number };

/**
 * What keeps a pod from a node: its room first, then where it wants to be, its ports, and the taints that throw pods off.
 * Resources of which the node says nothing are counted elsewhere. Pure.
 */
export function findMisfits(pod: Pod, others: readonly Pod[], node: Node, maxPods: number): Misfit[] {
  const misfits: Misfit[] = resourceMisfits(pod, others, node, maxPods);
  const predicate = (name: string, text: string): void => {
    misfits.push({ kind: 'predicate', name, message: `Predicate ${name} failed: ${text}` });
  };
  const { spec } = pod;
  const labels = node.metadata.labels ?? {};
  const selected = Object.entries(spec.nodeSelector ?? {}).every(([key, value]) => labels[key] === value);
  if (!selected || !matchesNodeAffinity(spec.affinity?.nodeAffinity, node))
    predicate('NodeAffinity', "node(s) didn't match Pod's node affinity/selector");
  if (spec.nodeName && spec.nodeName !== node.metadata.name)
    predicate('NodeName', "node(s) didn't match the requested node name");
  if (portTaken(pod, others)) predicate('NodePorts', "node(s) didn't have free ports for the requested pod ports");
  if (!isStaticPod(pod) && !toleratesNoExecute(pod, node))
    predicate('TaintToleration', "node(s) had taints that the pod didn't tolerate");
  return misfits;
}

/** The order in which resources are told, as upstream looks at them; others follow. */
const order = ['cpu', 'memory', 'ephemeral-storage'];

/** The resources that are short, with pods themselves first. */
export function resourceMisfits(
  pod: Pod,
  others: readonly Pod[],
  node: Node,
  maxPods: number,
): Extract<Misfit, { kind: 'resource' }>[] {
  const allocatable = (node.status?.allocatable ?? {}) as Record<string, string>;
  const misfits: Extract<Misfit, { kind: 'resource' }>[] = [];
  const places = quantityMilli(allocatable['pods'] ?? String(maxPods)) / 1000;
  if (others.length + 1 > places) {
    misfits.push({ kind: 'resource', resource: 'pods', requested: 1, used: others.length, capacity: places });
  }
  const used = new Map<string, number>();
  for (const other of others) {
    for (const [name, amount] of podRequests(other)) used.set(name, (used.get(name) ?? 0) + amount);
  }
  const rank = (name: string) => (order.includes(name) ? order.indexOf(name) : order.length);
  const requests = [...podRequests(pod)].sort(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : 1));
  for (const [resource, amount] of requests) {
    // An extended resource that the node does not know belongs to the cluster, or is found short by its own manager.
    const missing = allocatable[resource] === undefined;
    if (amount === 0 || (missing && (resource.includes('/') || order.includes(resource)))) continue;
    const capacity = quantityMilli(allocatable[resource] ?? '0');
    const taken = used.get(resource) ?? 0;
    if (taken + amount <= capacity) continue;
    const unit = resource === 'cpu' ? 1 : 1000;
    const whole = (milli: number) => Math.ceil(milli / unit);
    misfits.push({
      kind: 'resource',
      resource,
      requested: whole(amount),
      used: whole(taken),
      capacity: Math.floor(capacity / unit),
    });
  }
  return misfits;
}

/** The reason and message of a pod's status for what does not fit. */
export function describeMisfit(misfit: Misfit): { reason: string; message: string } {
  if (misfit.kind === 'predicate') return { reason: misfit.name, message: misfit.message };
  const { resource, requested, used, capacity } = misfit;
  const message = `Node didn't have enough resource: ${resource}, requested: ${requested}, used: ${used}, capacity: ${capacity}`;
  return { reason: `OutOf${resource}`, message };
}

function portTaken(pod: Pod, others: readonly Pod[]): boolean {
  const wanted = hostPorts(pod);
  if (wanted.length === 0) return false;
  const any = (ip: string) => ip === '' || ip === '0.0.0.0' || ip === '::';
  return others
    .flatMap(hostPorts)
    .some((taken) =>
      wanted.some(
        (port) =>
          port.hostPort === taken.hostPort &&
          port.protocol === taken.protocol &&
          (any(port.hostIp) || any(taken.hostIp) || port.hostIp === taken.hostIp),
      ),
    );
}

/** Only NoExecute taints keep a pod from a node that it was assigned to. */
function toleratesNoExecute(pod: Pod, node: Node): boolean {
  return (node.spec?.taints ?? [])
    .filter(({ effect }) => effect === 'NoExecute')
    .every((taint) =>
      (pod.spec.tolerations ?? []).some((one) => {
        if (one.effect && one.effect !== taint.effect) return false;
        if (one.key && one.key !== taint.key) return false;
        if (one.operator === 'Exists') return true;
        return one.key !== undefined && (one.value ?? '') === (taint.value ?? '');
      }),
    );
}
