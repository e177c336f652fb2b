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
  const sets = context.informers.store<ReplicaOwner>(flavour.resource);
  const pods = context.informers.store<Pod>(resources.pods);
  const events = context.events(flavour.component);

  const createPods = async (owner: ReplicaOwner, count: number) => {
    const { namespace, name } = owner.metadata;
    const draft = podFromTemplate(owner.spec!.template as PodTemplateSpec);
    const reference = controllerReference(owner, flavour.resource.apiVersion, flavour.resource.kind);
    return slowStart(count, async () => {
      const metadata = {
        ...draft.metadata,
        namespace: namespace!,
        generateName: `${name}-`,
        ownerReferences: [reference],
      };
      try {
        const pod = await pods.create({ ...draft, metadata });
        events.event(owner, 'Normal', 'SuccessfulCreate', `Created pod: ${pod.metadata.name}`);
      } catch (error) {
        const terminating = error instanceof ApiError && /being terminated/.test(error.message);
        if (!terminating) events.event(owner, 'Warning', 'FailedCreate', `Error creating: ${(error as Error).message}`);
        throw error;
      }
    });
  };
  const deletePods = async (owner: ReplicaOwner, victims: readonly Pod[]) =>
    slowStart(victims.length, async (index) => {
      const victim = victims[index]!;
      await pods.delete(victim);
      events.event(owner, 'Normal', 'SuccessfulDelete', `Deleted pod: ${victim.metadata.name}`);
    });
  const relatedPods = (owner: ReplicaOwner): Pod[] => {
    const parent = controllerOf(owner)?.uid;
    const siblings = parent ? sets.by('owner', parent) : [owner];
    return siblings.flatMap(({ metadata }) => pods.by('owner', metadata.uid));
  };

  const handle = async (key: string): Promise<void> => {
    const owner = sets.get(key);
    const selector = owner && flavour.selectorOf(owner);
    if (!owner || !selector) return;
    const matches = matchLabelSelector(selector);
    const claimant: Claimant = { owner, apiVersion: flavour.resource.apiVersion, kind: flavour.resource.kind, matches };
    const claims = planClaims(claimant, claimCandidates(pods, owner), isPodActive);
    await actClaims(claimant, claims, pods);
    let failure: { reason: string; message: string } | undefined;
    let problem: unknown;
    if (!owner.metadata.deletionTimestamp) {
      const owned = pods.by('owner', owner.metadata.uid);
      for (const step of planReplicas(owner.spec?.replicas ?? 1, owned, relatedPods(owner))) {
        const { error } =
          step.kind === 'create' ? await createPods(owner, step.count) : await deletePods(owner, step.pods);
        if (error === undefined) continue;
        problem = error;
        failure = {
          reason: step.kind === 'create' ? 'FailedCreate' : 'FailedDelete',
          message: (error as Error).message,
        };
      }
    }
    const now = context.clock.now();
    const { status, againMs } = replicaStatus(owner as ReplicaSet, pods.by('owner', owner.metadata.uid), failure, now);
    if (!sameJson(status, owner.status)) {
      await sets.update({ ...owner, status } as ReplicaOwner, { subresource: 'status' });
    }
    if (againMs !== undefined) queue.addAfter(key, againMs);
    if (problem) throw problem;
  };
  const queue = createControllerQueue(context, {
    name: flavour.component,
    stores: [sets, pods],
    concurrency: 8,
    handle,
  });

  const wakeOrphan = (pod: Pod): void => {
    for (const owner of sets.by('namespace', pod.metadata.namespace ?? '')) {
      const selector = flavour.selectorOf(owner);
      if (selector && matchLabelSelector(selector)(pod.metadata.labels)) queue.add(objectKey(owner));
    }
  };
  const onPod = pods.subscribe((_key, now, before) => {
    for (const pod of [now, before]) {
      const owner = pod && controllerOf(pod);
      if (owner?.kind === flavour.resource.kind) queue.add(`${pod!.metadata.namespace}/${owner.name}`);
    }
    if (now && !controllerOf(now) && !now.metadata.deletionTimestamp && orphanMatters(now, before)) wakeOrphan(now);
  });
  const onSet = sets.subscribe((key) => queue.add(key));
  return controllerOfParts([queue], [onPod, onSet]);
}

function orphanMatters(now: Pod, before: Pod | undefined): boolean {
  return !before || controllerOf(before) !== undefined || !sameJson(now.metadata.labels, before.metadata.labels);
}
