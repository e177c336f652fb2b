import type { DeploymentCondition, DeploymentStatus, ReplicaSet } from '../../../api/index.ts';
import { apiTime, timeMs } from '../framework/controller.ts';
import { askedOf, availableOf, type DeploymentFacts, desiredReplicas, rollingBounds, sum } from './facts.ts';

/** What happened in this round that the conditions tell. */
export interface RoundResult {
  /** Name of the ReplicaSet made in this round. */
  created?: string;
  /** Why none could be made. */
  failure?: string;
  collisionCount?: number;
}

/** The status of a Deployment, and when to look again because its deadline will have passed (milliseconds). */
export function deploymentStatus(
  facts: DeploymentFacts,
  result: RoundResult,
): { status: DeploymentStatus; againMs: number | undefined } {
  const { deployment, newSet, oldSets } = facts;
  const all = [...oldSets, newSet];
  const count =
    (of: (status: NonNullable<ReplicaSet['status']>) => number | undefined) => (set: ReplicaSet | undefined) =>
      set?.status ? (of(set.status) ?? 0) : 0;
  const available = sum(all, availableOf);
  const collisionCount = result.collisionCount ?? deployment.status?.collisionCount;
  const status: DeploymentStatus = {
    observedGeneration: deployment.metadata.generation ?? 0,
    replicas: sum(
      all,
      count(({ replicas }) => replicas),
    ),
    updatedReplicas: sum(
      [newSet],
      count(({ replicas }) => replicas),
    ),
    readyReplicas: sum(
      all,
      count(({ readyReplicas }) => readyReplicas),
    ),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, sum(all, askedOf) - available),
    terminatingReplicas: sum(
      all,
      count(({ terminatingReplicas }) => terminatingReplicas),
    ),
    ...(collisionCount ? { collisionCount } : {}),
    conditions: [...(deployment.status?.conditions ?? [])],
  };
  for (const key of [
    'replicas',
    'updatedReplicas',
    'readyReplicas',
    'availableReplicas',
    'unavailableReplicas',
  ] as const) {
    if (status[key] === 0) delete status[key];
  }
  const set = (type: string, value: string, reason: string, message: string, touch = false) =>
    setCondition(status, { type, status: value, reason, message }, facts.now, touch);
  if (available >= desiredReplicas(deployment) - rollingBounds(deployment).unavailable) {
    set('Available', 'True', 'MinimumReplicasAvailable', 'Deployment has minimum availability.');
  } else set('Available', 'False', 'MinimumReplicasUnavailable', 'Deployment does not have minimum availability.');
  setFailure(status, facts, result);
  return { status, againMs: setProgress(status, facts, result, set) };
}

type SetCondition = (type: string, value: string, reason: string, message: string, touch?: boolean) => void;

/** Tells whether the rollout goes on, is over, or has stalled. */
function setProgress(
  status: DeploymentStatus,
  { deployment, newSet, now }: DeploymentFacts,
  result: RoundResult,
  set: SetCondition,
): number | undefined {
  const { progressDeadlineSeconds = 600, paused } = deployment.spec;
  const current = () => status.conditions!.find(({ type }) => type === 'Progressing');
  if (progressDeadlineSeconds === 2 ** 31 - 1) {
    status.conditions = status.conditions!.filter(({ type }) => type !== 'Progressing');
    return undefined;
  }
  if (paused) {
    if (current()?.reason !== 'ProgressDeadlineExceeded')
      set('Progressing', 'Unknown', 'DeploymentPaused', 'Deployment is paused');
    return undefined;
  }
  if (current()?.reason === 'DeploymentPaused')
    set('Progressing', 'Unknown', 'DeploymentResumed', 'Deployment is resumed');
  const name = result.created ?? newSet?.metadata.name;
  if (result.created) set('Progressing', 'True', 'NewReplicaSetCreated', `Created new replica set "${name}"`, true);
  if (!name) return undefined;
  const before = deployment.status ?? {};
  const settled =
    (status.replicas ?? 0) === (status.updatedReplicas ?? 0) && current()?.reason === 'NewReplicaSetAvailable';
  if (isComplete(deployment, status)) {
    set('Progressing', 'True', 'NewReplicaSetAvailable', `ReplicaSet "${name}" has successfully progressed.`);
    return undefined;
  }
  if (settled) return undefined;
  if (progressed(before, status)) {
    set('Progressing', 'True', 'ReplicaSetUpdated', `ReplicaSet "${name}" is progressing.`, true);
  }
  const condition = current();
  if (!condition) {
    set('Progressing', 'True', 'FoundNewReplicaSet', `Found new replica set "${name}"`);
    return progressDeadlineSeconds * 1000 + 1000;
  }
  if (condition.reason === 'ProgressDeadlineExceeded') return undefined;
  const left = timeMs(condition.lastUpdateTime) + progressDeadlineSeconds * 1000 - now;
  if (left > 0) return left + 1000;
  set('Progressing', 'False', 'ProgressDeadlineExceeded', `ReplicaSet "${name}" has timed out progressing.`);
  return undefined;
}

function isComplete(deployment: DeploymentFacts['deployment'], status: DeploymentStatus): boolean {
  const desired = desiredReplicas(deployment);
  const { updatedReplicas = 0, replicas = 0, availableReplicas = 0 } = status;
  return updatedReplicas === desired && replicas === desired && availableReplicas === desired;
}

function progressed(before: DeploymentStatus, after: DeploymentStatus): boolean {
  const old = (status: DeploymentStatus) => (status.replicas ?? 0) - (status.updatedReplicas ?? 0);
  return (
    (after.updatedReplicas ?? 0) > (before.updatedReplicas ?? 0) ||
    old(after) < old(before) ||
    (after.readyReplicas ?? 0) > (before.readyReplicas ?? 0) ||
    (after.availableReplicas ?? 0) > (before.availableReplicas ?? 0)
  );
}

function setFailure(status: DeploymentStatus, { newSet, oldSets, now }: DeploymentFacts, result: RoundResult): void {
  const ofSet = [newSet, ...oldSets]
    .map((set) => set?.status?.conditions?.find(({ type }) => type === 'ReplicaFailure'))
    .find((condition) => condition !== undefined);
  const reason = result.failure ? 'ReplicaSetCreateError' : ofSet?.reason;
  const message = result.failure ?? ofSet?.message ?? '';
  if (reason) setCondition(status, { type: 'ReplicaFailure', status: 'True', reason, message }, now, false);
  else status.conditions = status.conditions!.filter(({ type }) => type !== 'ReplicaFailure');
}

/** Sets a condition; its times move only when it changes (or `touch` says that it was confirmed). */
function setCondition(status: DeploymentStatus, next: DeploymentCondition, now: number, touch: boolean): void {
  const conditions = status.conditions!;
  const before = conditions.find(({ type }) => type === next.type);
  if (before && !touch && before.status === next.status && before.reason === next.reason) return;
  const time = apiTime(now);
  const lastTransitionTime = before?.status === next.status ? (before.lastTransitionTime ?? time) : time;
  const condition = { ...next, lastUpdateTime: time, lastTransitionTime };
  status.conditions = [...conditions.filter(({ type }) => type !== next.type), condition];
}
