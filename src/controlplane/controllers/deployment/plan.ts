import type { ReplicaSet } from '../../../api/index.ts';
import { sameJson } from '../framework/controller.ts';
import {
  desiredAnnotation,
  maximumAnnotation,
  newSetAnnotations,
  replicasAnnotations,
  revisionAnnotation,
  revisionOf,
} from './annotations.ts';
import {
  askedOf,
  availableOf,
  type DeploymentFacts,
  desiredReplicas,
  maximumReplicas,
  rollingBounds,
  sum,
} from './facts.ts';

/** What to do for a Deployment. Steps of one plan may be done in order without looking again. */
export type DeploymentStep =
  | { kind: 'createSet'; replicas: number; revision: number; annotations: Record<string, string> }
  | { kind: 'annotateSet'; set: ReplicaSet; annotations: Record<string, string>; minReadySeconds: number }
  | { kind: 'setRevision'; revision: string }
  | { kind: 'scale'; set: ReplicaSet; from: number; to: number; annotations: Record<string, string> }
  | { kind: 'deleteSet'; set: ReplicaSet };

/** The next steps towards what the Deployment asks for; none when only time or pods can bring it further. */
export function planDeployment(facts: DeploymentFacts): DeploymentStep[] {
  const { deployment } = facts;
  if (deployment.metadata.deletionTimestamp) return [];
  const recreate = deployment.spec.strategy?.type === 'Recreate';
  if (deployment.spec.paused || (!recreate && isScaling(facts)))
    return [...annotate(facts), ...planScale(facts), ...planCleanup(facts)];
  const steps = recreate ? planRecreate(facts) : planRolling(facts);
  return steps.length > 0 ? steps : planCleanup(facts);
}

/** Whether the number of replicas was changed since a ReplicaSet was last touched. */
function isScaling({ deployment, newSet, oldSets }: DeploymentFacts): boolean {
  return [...oldSets, newSet].some((set) => {
    if (!set || askedOf(set) === 0) return false;
    const desired = set.metadata.annotations?.[desiredAnnotation];
    return desired !== undefined && Number(desired) !== desiredReplicas(deployment);
  });
}

/** Keeps annotations, revision and readiness time of the current ReplicaSet right. */
function annotate({ deployment, newSet, oldSets }: DeploymentFacts): DeploymentStep[] {
  if (!newSet) return [];
  const steps: DeploymentStep[] = [];
  const revision = Math.max(0, ...oldSets.map(revisionOf)) + 1;
  // The scale that the set remembers is changed only together with its size.
  const {
    [desiredAnnotation]: _d,
    [maximumAnnotation]: _m,
    ...wanted
  } = newSetAnnotations(deployment, newSet, revision, 0);
  const { [desiredAnnotation]: desired, [maximumAnnotation]: maximum, ...present } = newSet.metadata.annotations ?? {};
  const minReadySeconds = deployment.spec.minReadySeconds ?? 0;
  if (!sameJson(wanted, present) || (newSet.spec?.minReadySeconds ?? 0) !== minReadySeconds) {
    const annotations = { ...wanted };
    if (desired !== undefined) annotations[desiredAnnotation] = desired;
    if (maximum !== undefined) annotations[maximumAnnotation] = maximum;
    steps.push({ kind: 'annotateSet', set: newSet, annotations, minReadySeconds });
  }
  const current = wanted[revisionAnnotation] ?? String(revision);
  if (deployment.metadata.annotations?.[revisionAnnotation] !== current) {
    steps.push({ kind: 'setRevision', revision: current });
  }
  return steps;
}

function createSet(facts: DeploymentFacts, replicas: number): DeploymentStep[] {
  const { deployment, oldSets } = facts;
  const revision = Math.max(0, ...oldSets.map(revisionOf)) + 1;
  const annotations = newSetAnnotations(deployment, undefined, revision, maximumReplicas(deployment));
  return [
    { kind: 'createSet', replicas, revision, annotations },
    { kind: 'setRevision', revision: String(revision) },
  ];
}

function scale(facts: DeploymentFacts, set: ReplicaSet, to: number): DeploymentStep[] {
  const from = askedOf(set);
  const annotations = replicasAnnotations(facts.deployment, maximumReplicas(facts.deployment));
  const present = set.metadata.annotations ?? {};
  const current = Object.entries(annotations).every(([name, value]) => present[name] === value);
  return from === to && current ? [] : [{ kind: 'scale', set, from, to, annotations }];
}

function planRecreate(facts: DeploymentFacts): DeploymentStep[] {
  const { newSet, oldSets, deployment } = facts;
  const down = oldSets.filter((set) => askedOf(set) > 0).flatMap((set) => scale(facts, set, 0));
  if (down.length > 0) return down;
  if (facts.oldPodsRunning) return annotate(facts);
  if (!newSet) return createSet(facts, desiredReplicas(deployment));
  return [...annotate(facts), ...scale(facts, newSet, desiredReplicas(deployment))];
}

function planRolling(facts: DeploymentFacts): DeploymentStep[] {
  const { newSet } = facts;
  if (!newSet) return createSet(facts, newSetSize(facts));
  const steps = annotate(facts);
  const size = newSetSize(facts);
  if (size !== askedOf(newSet)) return [...steps, ...scale(facts, newSet, size)];
  return [...steps, ...planOldSets(facts)];
}

/** The size that the current ReplicaSet may have now. */
function newSetSize({ deployment, newSet, oldSets }: DeploymentFacts): number {
  const desired = desiredReplicas(deployment);
  const asked = askedOf(newSet);
  if (asked >= desired) return desired;
  const room = maximumReplicas(deployment) - sum([...oldSets, newSet], askedOf);
  return room <= 0 ? asked : Math.min(asked + room, desired);
}

/** Takes from the old ReplicaSets what availability allows: first pods that are not available anyway. */
function planOldSets(facts: DeploymentFacts): DeploymentStep[] {
  const { deployment, newSet, oldSets } = facts;
  const active = oldSets.filter((set) => askedOf(set) > 0);
  if (active.length === 0) return [];
  const least = desiredReplicas(deployment) - rollingBounds(deployment).unavailable;
  const newUnavailable = askedOf(newSet) - availableOf(newSet);
  let cleanable = sum([...oldSets, newSet], askedOf) - least - newUnavailable;
  if (cleanable <= 0) return [];
  const sizes = new Map(active.map((set) => [set, askedOf(set)]));
  for (const set of active) {
    const unhealthy = Math.min(cleanable, Math.max(0, askedOf(set) - availableOf(set)));
    sizes.set(set, askedOf(set) - unhealthy);
    cleanable -= unhealthy;
  }
  let spare = sum([...oldSets, newSet], availableOf) - least;
  for (const set of active) {
    const less = Math.min(Math.max(0, spare), sizes.get(set)!);
    sizes.set(set, sizes.get(set)! - less);
    spare -= less;
  }
  return active.flatMap((set) => (sizes.get(set) === askedOf(set) ? [] : scale(facts, set, sizes.get(set)!)));
}

/** Follows a change of the wanted number, also in the middle of a rollout: in proportion to the sizes. */
function planScale(facts: DeploymentFacts): DeploymentStep[] {
  const { deployment, newSet, oldSets } = facts;
  const desired = desiredReplicas(deployment);
  const active = [...oldSets, ...(newSet ? [newSet] : [])].filter((set) => askedOf(set) > 0);
  const only = active.length === 1 ? active[0] : active.length === 0 ? (newSet ?? oldSets.at(-1)) : undefined;
  if (active.length <= 1) return only ? scale(facts, only, desired) : [];
  const saturated = newSet && askedOf(newSet) === desired && availableOf(newSet) === desired;
  if (saturated) return oldSets.filter((set) => askedOf(set) > 0).flatMap((set) => scale(facts, set, 0));
  if (deployment.spec.strategy?.type === 'Recreate') return [];
  const total = sum(active, askedOf);
  const allowed = desired > 0 ? maximumReplicas(deployment) : 0;
  return proportional(facts, active, allowed - total, allowed);
}

/** Shares out `more` (or less, when negative) over the sets; the biggest and newest takes what rounding leaves. */
function proportional(
  facts: DeploymentFacts,
  active: readonly ReplicaSet[],
  more: number,
  allowed: number,
): DeploymentStep[] {
  const ordered = [...active].sort((a, b) => askedOf(b) - askedOf(a) || revisionOf(b) - revisionOf(a));
  const sizes = new Map(ordered.map((set) => [set, askedOf(set)]));
  let left = more;
  for (const set of ordered) {
    if (left === 0) break;
    const before = Number(set.metadata.annotations?.[maximumAnnotation]) || sum(active, askedOf);
    const share = Math.round((askedOf(set) * allowed) / Math.max(1, before)) - askedOf(set);
    const change = more > 0 ? Math.min(Math.max(share, 0), left) : Math.max(Math.min(share, 0), left);
    sizes.set(set, askedOf(set) + change);
    left -= change;
  }
  const first = ordered[0]!;
  sizes.set(first, Math.max(0, sizes.get(first)! + left));
  return ordered.flatMap((set) => scale(facts, set, sizes.get(set)!));
}

/** Forgets the oldest empty ReplicaSets beyond the history limit, once the rollout is over. */
function planCleanup({ deployment, newSet, oldSets }: DeploymentFacts): DeploymentStep[] {
  const limit = deployment.spec.revisionHistoryLimit ?? 10;
  const desired = desiredReplicas(deployment);
  const { status } = newSet ?? {};
  const complete = newSet && (status?.replicas ?? 0) === desired && availableOf(newSet) === desired;
  if (!complete || sum(oldSets, askedOf) > 0) return [];
  const removable = oldSets
    .filter(({ metadata }) => !metadata.deletionTimestamp)
    .sort((a, b) => revisionOf(a) - revisionOf(b));
  return removable
    .slice(0, Math.max(0, removable.length - limit))
    .filter(
      (set) =>
        (set.status?.replicas ?? 0) === 0 && (set.metadata.generation ?? 0) <= (set.status?.observedGeneration ?? 0),
    )
    .map((set) => ({ kind: 'deleteSet', set }));
}
