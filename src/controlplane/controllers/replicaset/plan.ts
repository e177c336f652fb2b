import type { Pod, ReplicaSet, ReplicaSetStatus } from '../../../api/index.ts';
import { apiTime } from '../framework/controller.ts';
import { isPodActive, isPodFinished, isPodReady, untilAvailable } from '../framework/pods.ts';
import { byDeletionPreference, crowdOf } from './rank.ts';

/** What to do to bring the number of pods to what is asked. */
export type ReplicaStep = { kind: 'create'; count: number } | { kind: 'delete'; pods: Pod[] };

/** Pods created or deleted in one go at most. */
const burst = 500;

/** Compares the pods that are owned with the number asked. `related` are pods of the same kind, for the order of deletion. */
export function planReplicas(replicas: number, owned: readonly Pod[], related: readonly Pod[]): ReplicaStep[] {
  const active = owned.filter(isPodActive);
  const difference = active.length - replicas;
  if (difference < 0) return [{ kind: 'create', count: Math.min(-difference, burst) }];
  if (difference === 0) return [];
  const order = byDeletionPreference(crowdOf(related.filter(isPodActive)));
  return [{ kind: 'delete', pods: active.sort(order).slice(0, Math.min(difference, burst)) }];
}

/** What the status says, and when to look again because a pod will have been ready for long enough (milliseconds). */
export function replicaStatus(
  set: Pick<ReplicaSet, 'metadata' | 'status'> & { spec?: ReplicaSet['spec'] },
  owned: readonly Pod[],
  failure: { reason: string; message: string } | undefined,
  now: number,
): { status: ReplicaSetStatus; againMs: number | undefined } {
  const { minReadySeconds = 0, template } = set.spec ?? {};
  const wanted = Object.entries(template?.metadata?.labels ?? {});
  const active = owned.filter(isPodActive);
  let againMs: number | undefined;
  let available = 0;
  for (const pod of active) {
    const left = untilAvailable(pod, minReadySeconds, now);
    if (left === 0) available++;
    else if (left !== undefined) againMs = Math.min(againMs ?? left, left);
  }
  const terminating = owned.filter((pod) => pod.metadata.deletionTimestamp && !isPodFinished(pod)).length;
  const status: ReplicaSetStatus = {
    ...set.status,
    replicas: active.length,
    fullyLabeledReplicas: active.filter(({ metadata }) => wanted.every(([k, v]) => metadata.labels?.[k] === v)).length,
    readyReplicas: active.filter(isPodReady).length,
    availableReplicas: available,
    terminatingReplicas: terminating,
    observedGeneration: set.metadata.generation ?? 0,
  };
  const before = set.status?.conditions?.find(({ type }) => type === 'ReplicaFailure');
  const others = (set.status?.conditions ?? []).filter(({ type }) => type !== 'ReplicaFailure');
  if (failure) {
    const lastTransitionTime = before?.reason === failure.reason ? before.lastTransitionTime : apiTime(now);
    status.conditions = [
      ...others,
      { type: 'ReplicaFailure', status: 'True', ...failure, ...(lastTransitionTime ? { lastTransitionTime } : {}) },
    ];
  } else if (others.length > 0) status.conditions = others;
  else delete status.conditions;
  return { status, againMs };
}
