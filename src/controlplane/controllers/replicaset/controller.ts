import {
  controllerOf,
  type LabelSelector,
  matchLabelSelector,
  objectKey,
  type Pod,
  type PodTemplateSpec,
  type ReplicaSet,
  type ReplicationController,
  type Resource,
  resources,
} from '../../../api/index.ts';
import type { KeyedQueue } from '../../../async/index.ts';
import type { EventRecorder } from '../../../client/index.ts';
import { ApiError } from '../../../client/index.ts';
import { actClaims, type Claimant, claimCandidates, planClaims, slowStart } from '../framework/claims.ts';
import {
  type Controller,
  type ControllerContext,
  controllerOfParts,
  controllerReference,
  createControllerQueue,
  sameJson,
} from '../framework/controller.ts';
import { isPodActive, podFromTemplate } from '../framework/pods.ts';
import type { Store } from '../framework/store.ts';
import { planReplicas, replicaStatus } from './plan.ts';

type ReplicaOwner = ReplicaSet | ReplicationController;

/** What differs between a ReplicaSet and its predecessor, the ReplicationController. */
interface Flavour {
  resource: Resource<any>;
  component: string;
  selectorOf(owner: any): LabelSelector | undefined;
}

const replicaSets: Flavour = {
  resource: resources.replicasets,
  component: 'replicaset-controller',
  selectorOf: (owner: ReplicaSet) => owner.spec?.selector,
};
const replicationControllers: Flavour = {
  resource: resources.replicationcontrollers,
  component: 'replication-controller',
  selectorOf: (owner: ReplicationController) => {
    const selector = owner.spec?.selector ?? owner.spec?.template?.metadata?.labels;
    return selector && Object.keys(selector).length > 0 ? { matchLabels: selector } : undefined;
  },
};

/** Keeps as many pods of each ReplicaSet as it asks for. */
export function startReplicaSetController(context: ControllerContext): Controller {
  return startReplicas(context, replicaSets);
}

/** Keeps as many pods of each ReplicationController as it asks for. */
export function startReplicationControllerController(context: ControllerContext): Controller {
  return startReplicas(context, replicationControllers);
}

function startReplicas(context: ControllerContext, flavour: Flavour): Controller {
  return new ReplicaController(context, flavour);
}

class ReplicaController implements Controller {
  readonly #context: ControllerContext;
  readonly #flavour: Flavour;
  readonly #sets: Store<ReplicaOwner>;
  readonly #pods: Store<Pod>;
  readonly #events: EventRecorder;
  readonly #queue: KeyedQueue;
  readonly #parts: Controller;

  constructor(context: ControllerContext, flavour: Flavour) {
    this.#context = context;
    this.#flavour = flavour;
    this.#sets = this.#context.informers.store<ReplicaOwner>(this.#flavour.resource);
    this.#pods = this.#context.informers.store<Pod>(resources.pods);
    this.#events = this.#context.events(this.#flavour.component);
    this.#queue = createControllerQueue(this.#context, {
      name: this.#flavour.component,
      stores: [this.#sets, this.#pods],
      concurrency: 8,
      handle: (key) => this.#handle(key),
    });
    const onPod = this.#pods.subscribe((_key, now, before) => {
      for (const pod of [now, before]) {
        const owner = pod && controllerOf(pod);
        if (owner?.kind === this.#flavour.resource.kind) this.#queue.add(`${pod!.metadata.namespace}/${owner.name}`);
      }
      if (now && !controllerOf(now) && !now.metadata.deletionTimestamp && orphanMatters(now, before))
        this.#wakeOrphan(now);
    });
    const onSet = this.#sets.subscribe((key) => this.#queue.add(key));
    this.#parts = controllerOfParts([this.#queue], [onPod, onSet]);
  }
  stop(): Promise<void> {
    return this.#parts.stop();
  }

  async #createPods(owner: ReplicaOwner, count: number) {
    const { namespace, name } = owner.metadata;
    const draft = podFromTemplate(owner.spec!.template as PodTemplateSpec);
    const reference = controllerReference(owner, this.#flavour.resource.apiVersion, this.#flavour.resource.kind);
    return slowStart(count, async () => {
      const metadata = {
        ...draft.metadata,
        namespace: namespace!,
        generateName: `${name}-`,
        ownerReferences: [reference],
      };
      try {
        const pod = await this.#pods.create({ ...draft, metadata });
        this.#events.event(owner, 'Normal', 'SuccessfulCreate', `Created pod: ${pod.metadata.name}`);
      } catch (error) {
        const terminating = error instanceof ApiError && /being terminated/.test(error.message);
        if (!terminating)
          this.#events.event(owner, 'Warning', 'FailedCreate', `Error creating: ${(error as Error).message}`);
        throw error;
      }
    });
  }

  async #deletePods(owner: ReplicaOwner, victims: readonly Pod[]) {
    return slowStart(victims.length, async (index) => {
      const victim = victims[index]!;
      await this.#pods.delete(victim);
      this.#events.event(owner, 'Normal', 'SuccessfulDelete', `Deleted pod: ${victim.metadata.name}`);
    });
  }

  #relatedPods(owner: ReplicaOwner): Pod[] {
    const parent = controllerOf(owner)?.uid;
    const siblings = parent ? this.#sets.by('owner', parent) : [owner];
    return siblings.flatMap(({ metadata }) => this.#pods.by('owner', metadata.uid));
  }

  async #handle(key: string): Promise<void> {
    const owner = this.#sets.get(key);
    const selector = owner && this.#flavour.selectorOf(owner);
    if (!owner || !selector) return;
    const matches = matchLabelSelector(selector);
    const claimant: Claimant = {
      owner,
      apiVersion: this.#flavour.resource.apiVersion,
      kind: this.#flavour.resource.kind,
      matches,
    };
    const claims = planClaims(claimant, claimCandidates(this.#pods, owner), isPodActive);
    await actClaims(claimant, claims, this.#pods);
    let failure: { reason: string; message: string } | undefined;
    let problem: unknown;
    if (!owner.metadata.deletionTimestamp) {
      const owned = this.#pods.by('owner', owner.metadata.uid);
      for (const step of planReplicas(owner.spec?.replicas ?? 1, owned, this.#relatedPods(owner))) {
        const { error } =
          step.kind === 'create' ? await this.#createPods(owner, step.count) : await this.#deletePods(owner, step.pods);
        if (error === undefined) continue;
        problem = error;
        failure = {
          reason: step.kind === 'create' ? 'FailedCreate' : 'FailedDelete',
          message: (error as Error).message,
        };
      }
    }
    const now = this.#context.clock.now();
    const { status, againMs } = replicaStatus(
      owner as ReplicaSet,
      this.#pods.by('owner', owner.metadata.uid),
      failure,
      now,
    );
    if (!sameJson(status, owner.status)) {
      await this.#sets.update({ ...owner, status } as ReplicaOwner, { subresource: 'status' });
    }
    if (againMs !== undefined) this.#queue.addAfter(key, againMs);
    if (problem) throw problem;
  }

  #wakeOrphan(pod: Pod): void {
    for (const owner of this.#sets.by('namespace', pod.metadata.namespace ?? '')) {
      const selector = this.#flavour.selectorOf(owner);
      if (selector && matchLabelSelector(selector)(pod.metadata.labels)) this.#queue.add(objectKey(owner));
    }
  }
}

function orphanMatters(now: Pod, before: Pod | undefined): boolean {
  return !before || controllerOf(before) !== undefined || !sameJson(now.metadata.labels, before.metadata.labels);
}
