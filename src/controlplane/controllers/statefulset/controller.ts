import {
  type ControllerRevision,
  controllerOf,
  matchLabelSelector,
  type PersistentVolumeClaim,
  type Pod,
  resources,
  type StatefulSet,
  type StatefulSetStatus,
} from '../../../api/index.ts';
import type { KeyedQueue } from '../../../async/index.ts';
import type { EventRecorder } from '../../../client/index.ts';
import { isAlreadyExists } from '../../../client/index.ts';
import { actClaims, type Claimant, claimCandidates, planClaims } from '../framework/claims.ts';
import {
  type Controller,
  type ControllerContext,
  controllerOfParts,
  controllerReference,
  createControllerQueue,
  sameJson,
} from '../framework/controller.ts';
import { isPodAvailable, isPodReady, podFromTemplate, untilAvailable } from '../framework/pods.ts';
import {
  type Revisions,
  revisionHash,
  revisionHashLabel,
  syncRevision,
  trimRevisions,
} from '../framework/revisions.ts';
import type { Store } from '../framework/store.ts';
import { claimsOf, planOwners } from './claims.ts';
import { ordinalOf, planStateful, type StatefulFacts } from './plan.ts';

/** Keeps the pods of StatefulSets: each with a name, a claim and a place in the order of its own. */
export function startStatefulSetController(context: ControllerContext): Controller {
  return new StatefulSetController(context);
}

class StatefulSetController implements Controller {
  readonly #context: ControllerContext;
  readonly #sets: Store<StatefulSet>;
  readonly #pods: Store<Pod>;
  readonly #revisions: Store<ControllerRevision>;
  readonly #claims: Store<PersistentVolumeClaim>;
  readonly #events: EventRecorder;
  readonly #queue: KeyedQueue;
  readonly #parts: Controller;

  constructor(context: ControllerContext) {
    this.#context = context;
    this.#sets = this.#context.informers.store<StatefulSet>(resources.statefulsets);
    this.#pods = this.#context.informers.store<Pod>(resources.pods);
    this.#revisions = this.#context.informers.store<ControllerRevision>(resources.controllerrevisions);
    this.#claims = this.#context.informers.store<PersistentVolumeClaim>(resources.persistentvolumeclaims);
    this.#events = this.#context.events('statefulset-controller');
    this.#queue = createControllerQueue(this.#context, {
      name: 'statefulset',
      stores: [this.#sets, this.#pods, this.#revisions, this.#claims],
      handle: (key) => this.#handle(key),
    });
    const onSet = this.#sets.subscribe((key) => this.#queue.add(key));
    const onPod = this.#pods.subscribe((_key, now, before) => {
      for (const pod of [now, before]) {
        const owner = pod && controllerOf(pod);
        if (owner?.kind === 'StatefulSet') this.#queue.add(`${pod!.metadata.namespace}/${owner.name}`);
      }
    });
    this.#parts = controllerOfParts([this.#queue], [onSet, onPod]);
  }
  stop(): Promise<void> {
    return this.#parts.stop();
  }

  async #ensureClaims(set: StatefulSet, ordinal: number): Promise<void> {
    for (const claim of claimsOf(set, ordinal)) {
      if (this.#claims.get(`${claim.metadata.namespace}/${claim.metadata.name}`)) continue;
      try {
        await this.#claims.create(claim as never);
        const message = `create Claim ${claim.metadata.name} Pod ${set.metadata.name}-${ordinal} in StatefulSet ${set.metadata.name} success`;
        this.#events.event(set, 'Normal', 'SuccessfulCreate', message);
      } catch (error) {
        if (!isAlreadyExists(error)) throw error;
      }
    }
  }

  async #ownClaims(set: StatefulSet, pods: readonly Pod[]): Promise<void> {
    if (set.metadata.deletionTimestamp) return;
    const { namespace } = set.metadata;
    const changes = planOwners(set, pods, (name) => this.#claims.get(`${namespace}/${name}`));
    for (const { claim, ownerReferences } of changes) {
      const { resourceVersion } = claim.metadata;
      await this.#claims.patch(claim.metadata, { metadata: { resourceVersion, ownerReferences } });
    }
  }

  async #createPod(set: StatefulSet, ordinal: number, hash: string, known: Revisions): Promise<void> {
    const name = `${set.metadata.name}-${ordinal}`;
    try {
      await this.#ensureClaims(set, ordinal);
      await this.#pods.create(podOf(set, ordinal, hash, known));
      this.#events.event(
        set,
        'Normal',
        'SuccessfulCreate',
        `create Pod ${name} in StatefulSet ${set.metadata.name} successful`,
      );
    } catch (error) {
      if (isAlreadyExists(error)) throw error;
      this.#events.event(
        set,
        'Warning',
        'FailedCreate',
        `create Pod ${name} in StatefulSet ${set.metadata.name} failed error: ${(error as Error).message}`,
      );
      throw error;
    }
  }

  async #handle(key: string): Promise<void> {
    const set = this.#sets.get(key);
    if (!set?.spec) return;
    const claimant: Claimant = {
      owner: set,
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      matches: matchLabelSelector(set.spec.selector),
    };
    await actClaims(
      claimant,
      planClaims(claimant, claimCandidates(this.#pods, set), (pod) => ordinalOf(set, pod) !== undefined),
      this.#pods,
    );
    const known = await syncRevision(set, 'StatefulSet', this.#revisions);
    const updateRevision = known.current.metadata.name;
    const currentName = set.status?.currentRevision;
    const current = known.all.find(({ metadata }) => metadata.name === currentName) ?? known.current;
    const facts = (): StatefulFacts => ({
      set,
      pods: this.#pods.by('owner', set.metadata.uid),
      currentRevision: revisionHash(current),
      updateRevision: revisionHash(known.current),
      now: this.#context.clock.now(),
    });
    let problem: unknown;
    try {
      // Before a surplus pod goes: its claims go with it where that is wanted.
      await this.#ownClaims(set, facts().pods);
      await Promise.all(
        planStateful(facts()).map(async (step) => {
          if (step.kind === 'create') return this.#createPod(set, step.ordinal, step.revision, known);
          await this.#pods.delete(step.pod);
          this.#events.event(
            set,
            'Normal',
            'SuccessfulDelete',
            `delete Pod ${step.pod.metadata.name} in StatefulSet ${set.metadata.name} successful`,
          );
        }),
      );
    } catch (error) {
      problem = error;
    }
    const after = facts();
    const status = statefulStatus(after, current.metadata.name, updateRevision, known.collisionCount);
    if (!sameJson(status, set.status)) await this.#sets.update({ ...set, status }, { subresource: 'status' });
    const inUse = new Set([
      revisionHash(current),
      ...after.pods.map(({ metadata }) => metadata.labels?.[revisionHashLabel] ?? ''),
    ]);
    await trimRevisions(known, set.spec.revisionHistoryLimit ?? 10, inUse, this.#revisions);
    for (const pod of after.pods) {
      const left = untilAvailable(pod, set.spec.minReadySeconds ?? 0, after.now);
      if (left) this.#queue.addAfter(key, left);
    }
    if (problem) throw problem;
  }
}

function podOf(set: StatefulSet, ordinal: number, hash: string, known: Revisions) {
  // Pods below the partition are made from the template of their own revision.
  const revision = known.all.find((one) => revisionHash(one) === hash) ?? known.current;
  const { $patch: _patch, ...template } = (revision.data as any).spec.template;
  const draft = podFromTemplate(template);
  const name = `${set.metadata.name}-${ordinal}`;
  const claims = (set.spec?.volumeClaimTemplates ?? []).map(({ metadata }) => ({
    name: metadata.name,
    persistentVolumeClaim: { claimName: `${metadata.name}-${name}` },
  }));
  const volumes = [
    ...(draft.spec.volumes ?? []).filter((volume) => !claims.some((claim) => claim.name === volume.name)),
    ...claims,
  ];
  return {
    metadata: {
      ...draft.metadata,
      name,
      namespace: set.metadata.namespace!,
      labels: {
        ...draft.metadata.labels,
        'statefulset.kubernetes.io/pod-name': name,
        'apps.kubernetes.io/pod-index': String(ordinal),
        [revisionHashLabel]: hash,
      },
      ownerReferences: [controllerReference(set, 'apps/v1', 'StatefulSet')],
    },
    spec: {
      ...draft.spec,
      hostname: name,
      ...(set.spec?.serviceName ? { subdomain: set.spec.serviceName } : {}),
      ...(volumes.length > 0 ? { volumes } : {}),
    },
  };
}

function statefulStatus(
  { set, pods, currentRevision, updateRevision, now }: StatefulFacts,
  current: string,
  update: string,
  collisionCount: number | undefined,
): StatefulSetStatus {
  const here = pods.filter((pod) => !pod.metadata.deletionTimestamp);
  const of = (hash: string) => here.filter(({ metadata }) => metadata.labels?.[revisionHashLabel] === hash).length;
  const minReady = set.spec?.minReadySeconds ?? 0;
  const replicas = set.spec?.replicas ?? 1;
  const ready = here.filter(isPodReady).length;
  const updated = of(updateRevision);
  // The update is over when all are of it and ready: then it is the current revision.
  const finished = updated === replicas && ready === replicas && here.length === replicas;
  const collisions = collisionCount ?? set.status?.collisionCount ?? 0;
  const currentCount = finished ? updated : of(currentRevision);
  return {
    ...(set.status?.conditions ? { conditions: set.status.conditions } : {}),
    observedGeneration: set.metadata.generation ?? 0,
    replicas: here.length,
    readyReplicas: ready,
    availableReplicas: here.filter((pod) => isPodAvailable(pod, minReady, now)).length,
    currentRevision: finished ? update : current,
    updateRevision: update,
    ...(currentCount ? { currentReplicas: currentCount } : {}),
    ...(updated ? { updatedReplicas: updated } : {}),
    collisionCount: collisions,
  };
}
