import type { Pod } from '../../../api/index.ts';
import { timeMs } from '../framework/controller.ts';
import { isPodReady, podCondition } from '../framework/pods.ts';

const costAnnotation = 'controller.kubernetes.io/pod-deletion-cost';
const phaseOrder: Record<string, number> = { Pending: 0, Unknown: 1, Running: 2 };

/**
 * Orders pods by how little is lost with them, the least first: without a node, pending, not ready, cheap by
 * annotation, on a node with more of the same, ready for a shorter time, often restarted, young.
 * `crowd` says how many pods of the same kind are on a node.
 */
export function byDeletionPreference(crowd: ReadonlyMap<string, number>): (a: Pod, b: Pod) => number {
  const keys = (pod: Pod): number[] => {
    const ready = isPodReady(pod);
    return [
      pod.spec.nodeName ? 1 : 0,
      phaseOrder[pod.status?.phase ?? 'Pending'] ?? 1,
      ready ? 1 : 0,
      Number(pod.metadata.annotations?.[costAnnotation] ?? 0) || 0,
      -(crowd.get(pod.spec.nodeName ?? '') ?? 0),
      ready ? -timeMs(podCondition(pod, 'Ready')?.lastTransitionTime) : 0,
      -restarts(pod),
      -timeMs(pod.metadata.creationTimestamp),
    ];
  };
  return (a, b) => {
    const left = keys(a);
    const right = keys(b);
    const at = left.findIndex((value, index) => value !== right[index]);
    if (at < 0) return a.metadata.name < b.metadata.name ? 1 : -1;
    return left[at]! - right[at]!;
  };
}

function restarts(pod: Pod): number {
  return Math.max(0, ...(pod.status?.containerStatuses ?? []).map(({ restartCount }) => restartCount));
}

/** How many of the pods are on each node. */
export function crowdOf(pods: readonly Pod[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { spec } of pods) {
    if (spec.nodeName) counts.set(spec.nodeName, (counts.get(spec.nodeName) ?? 0) + 1);
  }
  return counts;
}
