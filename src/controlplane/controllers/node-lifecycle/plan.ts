import type { Node, NodeCondition, Pod, Taint } from '../../../api/index.ts';
import { tolerationMatches } from '../../scheduler/index.ts';
import { apiTime, timeMs } from '../framework/controller.ts';

const notReady = 'node.kubernetes.io/not-ready';
const unreachable = 'node.kubernetes.io/unreachable';

/** Conditions that stand for a NoSchedule taint, by status. */
const conditionTaints: Record<string, Record<string, string>> = {
  Ready: { False: notReady, Unknown: unreachable },
  MemoryPressure: { True: 'node.kubernetes.io/memory-pressure' },
  DiskPressure: { True: 'node.kubernetes.io/disk-pressure' },
  PIDPressure: { True: 'node.kubernetes.io/pid-pressure' },
  NetworkUnavailable: { True: 'node.kubernetes.io/network-unavailable' },
};
const managedNoSchedule = new Set([
  ...Object.values(conditionTaints).flatMap((byStatus) => Object.values(byStatus)),
  'node.kubernetes.io/unschedulable',
]);
const managedNoExecute = new Set([notReady, unreachable]);

/** The taints that a node should have; undefined when it has them. Taints of others stay. */
export function planTaints(node: Node, now: number): Taint[] | undefined {
  const present = node.spec?.taints ?? [];
  const wanted: Taint[] = [];
  for (const { type, status } of node.status?.conditions ?? []) {
    const key = conditionTaints[type]?.[status];
    if (!key) continue;
    wanted.push({ key, effect: 'NoSchedule' });
    if (managedNoExecute.has(key)) wanted.push({ key, effect: 'NoExecute', timeAdded: apiTime(now) });
  }
  if (!node.status?.conditions?.some(({ type }) => type === 'Ready'))
    wanted.push({ key: notReady, effect: 'NoSchedule' });
  if (node.spec?.unschedulable) wanted.push({ key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' });
  const same = (a: Taint, b: Taint) => a.key === b.key && a.effect === b.effect;
  const isManaged = ({ key, effect }: Taint) =>
    (effect === 'NoSchedule' && managedNoSchedule.has(key)) || (effect === 'NoExecute' && managedNoExecute.has(key));
  const kept = present.filter((taint) => !isManaged(taint) || wanted.some((one) => same(one, taint)));
  const added = wanted.filter((taint) => !present.some((one) => same(one, taint)));
  return kept.length === present.length && added.length === 0 ? undefined : [...kept, ...added];
}

const heartbeatConditions = ['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure'];

/** The conditions of a node whose kubelet is silent. */
export function silentConditions(node: Node, now: number): NodeCondition[] {
  const time = apiTime(now);
  return heartbeatConditions.flatMap((type) => {
    const before = node.status?.conditions?.find((condition) => condition.type === type);
    if (before?.status === 'Unknown') return [];
    const never = !before;
    return [
      {
        type,
        status: 'Unknown',
        reason: never ? 'NodeStatusNeverUpdated' : 'NodeStatusUnknown',
        message: never ? 'Kubelet never posted node status.' : 'Kubelet stopped posting node status.',
        lastHeartbeatTime: before?.lastHeartbeatTime ?? node.metadata.creationTimestamp,
        lastTransitionTime: time,
      },
    ];
  });
}

/** When a pod must leave its tainted node, milliseconds since 1970; undefined when it may stay. */
export function evictionTime(pod: Pod, node: Node, now: number): number | undefined {
  let earliest: number | undefined;
  for (const taint of node.spec?.taints ?? []) {
    if (taint.effect !== 'NoExecute') continue;
    const matching = (pod.spec.tolerations ?? []).filter((toleration) => tolerationMatches(toleration, taint));
    if (matching.length === 0) return 0;
    const limits = matching.flatMap(({ tolerationSeconds }) =>
      tolerationSeconds === undefined ? [] : [tolerationSeconds],
    );
    if (limits.length === 0) continue;
    const at = (timeMs(taint.timeAdded) || now) + Math.max(0, Math.min(...limits)) * 1000;
    earliest = Math.min(earliest ?? at, at);
  }
  return earliest;
}
