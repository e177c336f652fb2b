import { type Node, type Pod, quantityMilli } from '../../api/index.ts';
import { hostPorts, isCritical } from '../pods/container-resources.ts';
import type { PodFailure } from '../pods/pod-record.ts';
import { matchesNodeAffinity } from './node-affinity.ts';
import { podRequests } from './pod-requests.ts';
import { forbiddenSysctl } from './sysctls.ts';

/** What admission looks at besides the pods. */
export interface AdmissionFacts {
  /** The Node object; undefined while it is not known, which lets pods in. */
  node: Node | undefined;
  maxPods: number;
  allowedUnsafeSysctls: readonly string[];
}

/**
 * Decides whether the node takes a pod that was assigned to it. Pure.
 * @param others the pods that it has taken already
 * @returns why not: reason and message of the pod's status
 */
export function admitPod(pod: Pod, others: readonly Pod[], facts: AdmissionFacts): PodFailure | undefined {
  const spec = pod.spec!;
  const sysctl = forbiddenSysctl(pod, facts.allowedUnsafeSysctls);
  if (sysctl) return { reason: 'SysctlForbidden', message: sysctl };
  if (spec.os?.name && spec.os.name !== 'linux') {
    return {
      reason: 'PodOSNotSupported',
      message: "Failed to admit pod as the OS field doesn't match node OS",
    };
  }
  const { node } = facts;
  if (!node) return undefined;
  const labels = node.metadata.labels ?? {};
  const selected = Object.entries(spec.nodeSelector ?? {}).every(([key, value]) => labels[key] === value);
  if (!selected || !matchesNodeAffinity(spec.affinity?.nodeAffinity, node)) {
    return {
      reason: 'NodeAffinity',
      message: "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
    };
  }
  if (spec.nodeName && spec.nodeName !== node.metadata.name) {
    return {
      reason: 'NodeName',
      message: "Predicate NodeName failed: node(s) didn't match the requested node name",
    };
  }
  if (portTaken(pod, others)) {
    return {
      reason: 'NodePorts',
      message: "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
    };
  }
  return taintRejection(pod, node) ?? resourceRejection(pod, others, node, facts);
}

function resourceRejection(
  pod: Pod,
  others: readonly Pod[],
  node: Node,
  { maxPods }: AdmissionFacts,
): PodFailure | undefined {
  const allocatable = (node.status?.allocatable ?? {}) as Record<string, string>;
  const capacity = quantityMilli(allocatable['pods'] ?? String(maxPods)) / 1000;
  const reject = (name: string, requested: number, used: number, limit: number): PodFailure => ({
    reason: `OutOf${name}`,
    message: `Node didn't have enough resource: ${name}, requested: ${requested}, used: ${used}, capacity: ${limit}`,
  });
  if (others.length + 1 > capacity) return reject('pods', 1, others.length, capacity);
  if (isCritical(pod) && pod.metadata.annotations?.['kubernetes.io/config.source'] === 'file') return undefined;
  const used = new Map<string, number>();
  for (const other of others) {
    for (const [name, amount] of podRequests(other)) used.set(name, (used.get(name) ?? 0) + amount);
  }
  for (const [name, amount] of podRequests(pod)) {
    if (amount === 0 || allocatable[name] === undefined) continue;
    const limit = quantityMilli(allocatable[name]);
    const taken = used.get(name) ?? 0;
    // CPU is told in thousandths, the rest in whole units.
    const unit = name === 'cpu' ? 1 : 1000;
    if (taken + amount > limit) return reject(name, amount / unit, taken / unit, limit / unit);
  }
  return undefined;
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
function taintRejection(pod: Pod, node: Node): PodFailure | undefined {
  for (const taint of node.spec?.taints ?? []) {
    if (taint.effect !== 'NoExecute') continue;
    const tolerated = (pod.spec!.tolerations ?? []).some((one) => {
      if (one.effect && one.effect !== taint.effect) return false;
      if (one.key && one.key !== taint.key) return false;
      if (one.operator === 'Exists') return true;
      return one.key !== undefined && (one.value ?? '') === (taint.value ?? '');
    });
    if (!tolerated) {
      const message = `Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate`;
      return { reason: 'TaintToleration', message };
    }
  }
  return undefined;
}
