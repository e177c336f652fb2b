import type { Deployment, Pod, ReplicaSet } from '../../../api/index.ts';
import { timeMs } from '../framework/controller.ts';
import { scaledValue } from '../framework/pods.ts';
import { sameTemplate } from './annotations.ts';

/** What a Deployment looks like now. */
export interface DeploymentFacts {
  deployment: Deployment;
  /** The ReplicaSet of the current template, if there is one. */
  newSet: ReplicaSet | undefined;
  /** All others, oldest first. */
  oldSets: ReplicaSet[];
  /** Whether pods of old ReplicaSets are still running (asked for Recreate). */
  oldPodsRunning: boolean;
  now: number;
}

/** Sorts a Deployment's ReplicaSets into the current one and the others. */
export function deploymentFacts(
  deployment: Deployment,
  sets: readonly ReplicaSet[],
  podsOf: (set: ReplicaSet) => readonly Pod[],
  now: number,
): DeploymentFacts {
  const ordered = [...sets].sort(byCreation);
  const newSet = ordered.find((set) => sameTemplate(set.spec?.template, deployment.spec.template));
  const oldSets = ordered.filter((set) => set !== newSet);
  const running = (pod: Pod) => pod.status?.phase !== 'Succeeded' && pod.status?.phase !== 'Failed';
  const recreate = deployment.spec.strategy?.type === 'Recreate';
  const oldPodsRunning = recreate && oldSets.some((set) => podsOf(set).some(running));
  return { deployment, newSet, oldSets, oldPodsRunning, now };
}

function byCreation(a: ReplicaSet, b: ReplicaSet): number {
  const order = timeMs(a.metadata.creationTimestamp) - timeMs(b.metadata.creationTimestamp);
  return order || (a.metadata.name < b.metadata.name ? -1 : 1);
}

/** How many pods a Deployment asks for. */
export function desiredReplicas({ spec }: Deployment): number {
  return spec.replicas ?? 1;
}
/** How many a ReplicaSet asks for. */
export function askedOf(set: ReplicaSet | undefined): number {
  return set ? (set.spec?.replicas ?? 1) : 0;
}
/** How many it has that are available. */
export function availableOf(set: ReplicaSet | undefined): number {
  return set?.status?.availableReplicas ?? 0;
}
/** The sum over ReplicaSets. */
export function sum(sets: readonly (ReplicaSet | undefined)[], of: (set: ReplicaSet | undefined) => number): number {
  return sets.reduce((total, set) => total + of(set), 0);
}

/** How far a rolling update may go above and below the wanted number. At least one of them is not 0. */
export function rollingBounds(deployment: Deployment): { surge: number; unavailable: number } {
  const { strategy } = deployment.spec;
  if (strategy?.type === 'Recreate') return { surge: 0, unavailable: 0 };
  const total = desiredReplicas(deployment);
  const { maxSurge = '25%', maxUnavailable = '25%' } = strategy?.rollingUpdate ?? {};
  const surge = scaledValue(maxSurge, total, true);
  const unavailable = Math.min(scaledValue(maxUnavailable, total, false), total);
  return surge === 0 && unavailable === 0 ? { surge, unavailable: 1 } : { surge, unavailable };
}

/** The greatest number of pods that may be there at once. */
export function maximumReplicas(deployment: Deployment): number {
  return desiredReplicas(deployment) + rollingBounds(deployment).surge;
}
