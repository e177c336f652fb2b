import {
  controllerOf,
  matchLabelSelector,
  objectKey,
  type Pod,
  type PodDisruptionBudget,
  type ReplicaSet,
  type ReplicationController,
  resources,
  type StatefulSet,
} from '../../../api/index.ts';
import {
  apiTime,
  type Controller,
  type ControllerContext,
  controllerOfParts,
  createControllerQueue,
  sameJson,
  timeMs,
} from '../framework/controller.ts';
import { isPodActive, isPodReady, scaledValue } from '../framework/pods.ts';

/** An eviction that was granted counts as a disruption for this long, until the pod is seen to go, milliseconds. */
const grantMs = 2 * 60_000;

/** Keeps the status of PodDisruptionBudgets: how many pods may be evicted now. */
export function startDisruptionController(context: ControllerContext): Controller {
  const budgets = context.informers.store<PodDisruptionBudget>(resources.poddisruptionbudgets);
  const pods = context.informers.store<Pod>(resources.pods);
  const owners = {
    ReplicaSet: context.informers.store<ReplicaSet>(resources.replicasets),
    ReplicationController: context.informers.store<ReplicationController>(resources.replicationcontrollers),
    StatefulSet: context.informers.store<StatefulSet>(resources.statefulsets),
  };

  /** How many pods there should be: the sum of what the pods' controllers ask for. */
  const expectedOf = (selected: readonly Pod[]): number => {
    const seen = new Map<string, number>();
    for (const pod of selected) {
      const owner = controllerOf(pod);
      const store = owner && owners[owner.kind as keyof typeof owners];
      const object = store?.get(`${pod.metadata.namespace}/${owner!.name}`);
      // A pod without a scalable controller stands for itself.
      if (object) seen.set(object.metadata.uid, object.spec?.replicas ?? 1);
      else seen.set(pod.metadata.uid, 1);
    }
    return [...seen.values()].reduce((sum, count) => sum + count, 0);
  };
  const handle = async (key: string): Promise<void> => {
    const budget = budgets.get(key);
    if (!budget || budget.metadata.deletionTimestamp) return;
    const now = context.clock.now();
    const matches = matchLabelSelector(budget.spec?.selector);
    const selected = pods
      .by('namespace', budget.metadata.namespace ?? '')
      .filter((pod) => isPodActive(pod) && matches(pod.metadata.labels));
    const { minAvailable, maxUnavailable } = budget.spec ?? {};
    const scalable = maxUnavailable !== undefined || typeof minAvailable === 'string';
    const expected = scalable ? expectedOf(selected) : selected.length;
    const desired =
      maxUnavailable !== undefined
        ? Math.max(0, expected - scaledValue(maxUnavailable, expected, true))
        : scaledValue(minAvailable ?? 1, expected, true);
    const granted = Object.entries(budget.status?.disruptedPods ?? {}).filter(
      ([name, time]) => selected.some(({ metadata }) => metadata.name === name) && now - timeMs(time) < grantMs,
    );
    const healthy = selected.filter(
      (pod) => isPodReady(pod) && !granted.some(([name]) => name === pod.metadata.name),
    ).length;
    const allowed = expected > 0 ? Math.max(0, healthy - desired) : 0;
    const status = {
      observedGeneration: budget.metadata.generation ?? 0,
      currentHealthy: healthy,
      desiredHealthy: desired,
      expectedPods: expected,
      disruptionsAllowed: allowed,
      ...(granted.length > 0 ? { disruptedPods: Object.fromEntries(granted) } : {}),
      conditions: allowedCondition(budget, allowed, now),
    };
    if (!sameJson(status, budget.status)) await budgets.update({ ...budget, status }, { subresource: 'status' });
    if (granted.length > 0) queue.addAfter(key, grantMs);
  };
  const queue = createControllerQueue(context, {
    name: 'disruption',
    stores: [budgets, pods, ...Object.values(owners)],
    handle,
  });
  const wake = (namespace: string | undefined, labels: Record<string, string> | undefined) => {
    for (const budget of budgets.by('namespace', namespace ?? '')) {
      if (matchLabelSelector(budget.spec?.selector)(labels)) queue.add(objectKey(budget));
    }
  };
  const ends = [
    budgets.subscribe((key, now) => now && queue.add(key)),
    pods.subscribe((_key, now, before) => {
      for (const pod of [now, before]) if (pod) wake(pod.metadata.namespace, pod.metadata.labels);
    }),
    ...Object.values(owners).map((store) =>
      store.subscribe(
        (
          _key: string,
          now: ReplicaSet | ReplicationController | StatefulSet | undefined,
          before: ReplicaSet | ReplicationController | StatefulSet | undefined,
        ) => {
          if (now?.spec?.replicas !== before?.spec?.replicas)
            wake((now ?? before)!.metadata.namespace, (now ?? before)!.spec?.template?.metadata?.labels);
        },
      ),
    ),
  ];
  return controllerOfParts([queue], ends);
}

function allowedCondition(budget: PodDisruptionBudget, allowed: number, now: number) {
  const status = allowed > 0 ? 'True' : 'False';
  const before = budget.status?.conditions?.find(({ type }) => type === 'DisruptionAllowed');
  const lastTransitionTime = before?.status === status ? before.lastTransitionTime : apiTime(now);
  const reason = allowed > 0 ? 'SufficientPods' : 'InsufficientPods';
  return [
    {
      type: 'DisruptionAllowed',
      status,
      reason,
      message: '',
      lastTransitionTime,
      observedGeneration: budget.metadata.generation ?? 0,
    },
  ];
}
