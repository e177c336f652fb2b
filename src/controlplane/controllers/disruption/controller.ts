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
import type { KeyedQueue } from '../../../async/index.ts';
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
import type { Store } from '../framework/store.ts';

type Scalable = ReplicaSet | ReplicationController | StatefulSet;

/** An eviction that was granted counts as a disruption for this long, until the pod is seen to go, milliseconds. */
const grantMs = 2 * 60_000;

/** Keeps the status of PodDisruptionBudgets: how many pods may be evicted now. */
export function startDisruptionController(context: ControllerContext): Controller {
  return new DisruptionController(context);
}

class DisruptionController implements Controller {
  readonly #context: ControllerContext;
  readonly #budgets: Store<PodDisruptionBudget>;
  readonly #pods: Store<Pod>;
  readonly #owners: Record<string, Store<any>>;
  readonly #queue: KeyedQueue;
  readonly #parts: Controller;

  constructor(context: ControllerContext) {
    this.#context = context;
    this.#budgets = this.#context.informers.store<PodDisruptionBudget>(resources.poddisruptionbudgets);
    this.#pods = this.#context.informers.store<Pod>(resources.pods);
    this.#owners = {
      ReplicaSet: this.#context.informers.store<ReplicaSet>(resources.replicasets),
      ReplicationController: this.#context.informers.store<ReplicationController>(resources.replicationcontrollers),
      StatefulSet: this.#context.informers.store<StatefulSet>(resources.statefulsets),
    };
    this.#queue = createControllerQueue(this.#context, {
      name: 'disruption',
      stores: [this.#budgets, this.#pods, ...Object.values(this.#owners)],
      handle: (key) => this.#handle(key),
    });
    const ends = [
      this.#budgets.subscribe((key, now) => now && this.#queue.add(key)),
      this.#pods.subscribe((_key, now, before) => {
        for (const pod of [now, before]) if (pod) this.#wake(pod.metadata.namespace, pod.metadata.labels);
      }),
      ...Object.values(this.#owners).map((store) =>
        store.subscribe((_key: string, now?: Scalable, before?: Scalable) => {
          if (now?.spec?.replicas !== before?.spec?.replicas)
            this.#wake((now ?? before)!.metadata.namespace, (now ?? before)!.spec?.template?.metadata?.labels);
        }),
      ),
    ];
    this.#parts = controllerOfParts([this.#queue], ends);
  }
  stop(): Promise<void> {
    return this.#parts.stop();
  }

  /** How many pods there should be: the sum of what the pods' controllers ask for. */
  #expectedOf(selected: readonly Pod[]): number {
    const seen = new Map<string, number>();
    for (const pod of selected) {
      const owner = controllerOf(pod);
      const store = owner && this.#owners[owner.kind];
      const object = store?.get(`${pod.metadata.namespace}/${owner!.name}`);
      // A pod without a scalable controller stands for itself.
      if (object) seen.set(object.metadata.uid, object.spec?.replicas ?? 1);
      else seen.set(pod.metadata.uid, 1);
    }
    return [...seen.values()].reduce((sum, count) => sum + count, 0);
  }

  async #handle(key: string): Promise<void> {
    const budget = this.#budgets.get(key);
    if (!budget || budget.metadata.deletionTimestamp) return;
    const now = this.#context.clock.now();
    const matches = matchLabelSelector(budget.spec?.selector);
    const selected = this.#pods
      .by('namespace', budget.metadata.namespace ?? '')
      .filter((pod) => isPodActive(pod) && matches(pod.metadata.labels));
    const { minAvailable, maxUnavailable } = budget.spec ?? {};
    const scalable = maxUnavailable !== undefined || typeof minAvailable === 'string';
    const expected = scalable ? this.#expectedOf(selected) : selected.length;
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
    if (!sameJson(status, budget.status)) await this.#budgets.update({ ...budget, status }, { subresource: 'status' });
    if (granted.length > 0) this.#queue.addAfter(key, grantMs);
  }

  #wake(namespace: string | undefined, labels: Record<string, string> | undefined) {
    for (const budget of this.#budgets.by('namespace', namespace ?? '')) {
      if (matchLabelSelector(budget.spec?.selector)(labels)) this.#queue.add(objectKey(budget));
    }
  }
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
