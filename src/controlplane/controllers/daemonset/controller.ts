import {
  type ControllerRevision,
  controllerOf,
  type DaemonSet,
  type DaemonSetStatus,
  matchLabelSelector,
  type Node,
  objectKey,
  type Pod,
  resources,
} from '../../../api/index.ts';
import type { KeyedQueue } from '../../../async/index.ts';
import type { EventRecorder } from '../../../client/index.ts';
import { actClaims, type Claimant, claimCandidates, planClaims, slowStart } from '../framework/claims.ts';
import {
  type Controller,
  type ControllerContext,
  controllerOfParts,
  controllerReference,
  createControllerQueue,
  sameJson,
} from '../framework/controller.ts';
import { isPodAvailable, isPodReady, podFromTemplate, untilAvailable } from '../framework/pods.ts';
import { revisionHash, revisionHashLabel, syncRevision, trimRevisions } from '../framework/revisions.ts';
import type { Store } from '../framework/store.ts';
import { type DaemonFacts, nodeWants, pinnedSpec, planDaemons, podsByNode } from './plan.ts';

const generationLabel = 'pod-template-generation';

/** Keeps one pod of each DaemonSet on every node that it is for. */
export function startDaemonSetController(context: ControllerContext): Controller {
  return new DaemonSetController(context);
}

class DaemonSetController implements Controller {
  readonly #context: ControllerContext;
  readonly #sets: Store<DaemonSet>;
  readonly #pods: Store<Pod>;
  readonly #nodes: Store<Node>;
  readonly #revisions: Store<ControllerRevision>;
  readonly #events: EventRecorder;
  readonly #queue: KeyedQueue;
  readonly #parts: Controller;

  constructor(context: ControllerContext) {
    this.#context = context;
    this.#sets = this.#context.informers.store<DaemonSet>(resources.daemonsets);
    this.#pods = this.#context.informers.store<Pod>(resources.pods);
    this.#nodes = this.#context.informers.store<Node>(resources.nodes);
    this.#revisions = this.#context.informers.store<ControllerRevision>(resources.controllerrevisions);
    this.#events = this.#context.events('daemonset-controller');
    this.#queue = createControllerQueue(this.#context, {
      name: 'daemonset',
      stores: [this.#sets, this.#pods, this.#nodes, this.#revisions],
      handle: (key) => this.#handle(key),
    });
    const onSet = this.#sets.subscribe((key) => this.#queue.add(key));
    const onPod = this.#pods.subscribe((_key, now, before) => {
      for (const pod of [now, before]) {
        const owner = pod && controllerOf(pod);
        if (owner?.kind === 'DaemonSet') this.#queue.add(`${pod!.metadata.namespace}/${owner.name}`);
      }
    });
    const onNode = this.#nodes.subscribe((_key, now, before) => {
      const view = (node: Node | undefined) => JSON.stringify([node?.metadata.labels, node?.spec]);
      if (view(now) !== view(before)) for (const set of this.#sets.list()) this.#queue.add(objectKey(set));
    });
    this.#parts = controllerOfParts([this.#queue], [onSet, onPod, onNode]);
  }
  stop(): Promise<void> {
    return this.#parts.stop();
  }

  async #createPod(set: DaemonSet, node: string, hash: string): Promise<void> {
    const draft = podFromTemplate(set.spec!.template);
    const generation = set.metadata.annotations?.['deprecated.daemonset.template.generation'];
    const labels = {
      ...draft.metadata.labels,
      [revisionHashLabel]: hash,
      ...(generation ? { [generationLabel]: generation } : {}),
    };
    try {
      const pod = await this.#pods.create({
        metadata: {
          ...draft.metadata,
          labels,
          namespace: set.metadata.namespace!,
          generateName: `${set.metadata.name}-`,
          ownerReferences: [controllerReference(set, 'apps/v1', 'DaemonSet')],
        },
        spec: pinnedSpec(draft.spec, node),
      });
      this.#events.event(set, 'Normal', 'SuccessfulCreate', `Created pod: ${pod.metadata.name}`);
    } catch (error) {
      this.#events.event(set, 'Warning', 'FailedCreate', `Error creating: ${(error as Error).message}`);
      throw error;
    }
  }

  async #act(set: DaemonSet, facts: DaemonFacts): Promise<void> {
    const plan = planDaemons(facts);
    for (const pod of plan.failed) {
      const message = `Found failed daemon pod ${objectKey(pod)} on node ${pod.spec.nodeName}, will try to kill it`;
      this.#events.event(set, 'Warning', 'FailedDaemonPod', message);
    }
    await Promise.all(
      plan.remove.map(async (pod) => {
        await this.#pods.delete(pod);
        this.#events.event(set, 'Normal', 'SuccessfulDelete', `Deleted pod: ${pod.metadata.name}`);
      }),
    );
    const { error } = await slowStart(plan.create.length, (index) =>
      this.#createPod(set, plan.create[index]!, facts.hash),
    );
    if (error) throw error;
  }

  async #handle(key: string): Promise<void> {
    const set = this.#sets.get(key);
    if (!set?.spec || set.metadata.deletionTimestamp) return;
    const claimant: Claimant = {
      owner: set,
      apiVersion: 'apps/v1',
      kind: 'DaemonSet',
      matches: matchLabelSelector(set.spec.selector),
    };
    await actClaims(claimant, planClaims(claimant, claimCandidates(this.#pods, set)), this.#pods);
    const known = await syncRevision(set, 'DaemonSet', this.#revisions);
    const hash = revisionHash(known.current);
    const factsNow = (): DaemonFacts => ({
      set,
      nodes: this.#nodes.list(),
      pods: this.#pods.by('owner', set.metadata.uid),
      hash,
      now: this.#context.clock.now(),
    });
    let problem: unknown;
    try {
      await this.#act(set, factsNow());
    } catch (error) {
      problem = error;
    }
    const facts = factsNow();
    const status = daemonStatus(facts, known.collisionCount);
    if (!sameJson(status, set.status)) await this.#sets.update({ ...set, status }, { subresource: 'status' });
    const inUse = new Set(facts.pods.map(({ metadata }) => metadata.labels?.[revisionHashLabel] ?? ''));
    await trimRevisions(known, set.spec.revisionHistoryLimit ?? 10, inUse, this.#revisions);
    for (const pod of facts.pods) {
      const left = untilAvailable(pod, set.spec.minReadySeconds ?? 0, facts.now);
      if (left) this.#queue.addAfter(key, left);
    }
    if (problem) throw problem;
  }
}

function daemonStatus(
  { set, nodes, pods, hash, now }: DaemonFacts,
  collisionCount: number | undefined,
): DaemonSetStatus {
  const byNode = podsByNode(pods);
  const count = { desired: 0, current: 0, misscheduled: 0, ready: 0, available: 0, updated: 0 };
  for (const node of nodes) {
    const here = (byNode.get(node.metadata.name) ?? []).filter((pod) => !pod.metadata.deletionTimestamp);
    const { run } = nodeWants(set, node);
    if (!run) {
      if (here.length > 0) count.misscheduled++;
      continue;
    }
    count.desired++;
    if (here.length === 0) continue;
    count.current++;
    const best =
      here.find((pod) => isPodAvailable(pod, set.spec?.minReadySeconds ?? 0, now)) ?? here.find(isPodReady) ?? here[0]!;
    if (isPodReady(best)) count.ready++;
    if (isPodAvailable(best, set.spec?.minReadySeconds ?? 0, now)) count.available++;
    if (here.some(({ metadata }) => metadata.labels?.[revisionHashLabel] === hash)) count.updated++;
  }
  const collisions = collisionCount ?? set.status?.collisionCount;
  const unavailable = count.desired - count.available;
  return {
    ...(set.status?.conditions ? { conditions: set.status.conditions } : {}),
    currentNumberScheduled: count.current,
    numberMisscheduled: count.misscheduled,
    desiredNumberScheduled: count.desired,
    numberReady: count.ready,
    observedGeneration: set.metadata.generation ?? 0,
    ...(count.updated ? { updatedNumberScheduled: count.updated } : {}),
    ...(count.available ? { numberAvailable: count.available } : {}),
    ...(unavailable ? { numberUnavailable: unavailable } : {}),
    ...(collisions ? { collisionCount: collisions } : {}),
  };
}
