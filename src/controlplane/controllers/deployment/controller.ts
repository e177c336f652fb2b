import {
  controllerOf,
  type Deployment,
  matchLabelSelector,
  objectKey,
  type Pod,
  type ReplicaSet,
  resources,
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
import { shortHash } from '../framework/pods.ts';
import type { Store } from '../framework/store.ts';
import { hashLabel, revisionAnnotation, sameTemplate } from './annotations.ts';
import { deploymentFacts } from './facts.ts';
import { type DeploymentStep, planDeployment } from './plan.ts';
import { deploymentStatus, type RoundResult } from './status.ts';

/** Rounds in one go: each plan sees what the one before has written. */
const roundsAtOnce = 8;

/** Rolls Deployments out by growing and shrinking their ReplicaSets. */
export function startDeploymentController(context: ControllerContext): Controller {
  return new DeploymentController(context);
}

class DeploymentController implements Controller {
  readonly #context: ControllerContext;
  readonly #deployments: Store<Deployment>;
  readonly #sets: Store<ReplicaSet>;
  readonly #pods: Store<Pod>;
  readonly #events: EventRecorder;
  readonly #queue: KeyedQueue;
  readonly #parts: Controller;

  constructor(context: ControllerContext) {
    this.#context = context;
    this.#deployments = this.#context.informers.store<Deployment>(resources.deployments);
    this.#sets = this.#context.informers.store<ReplicaSet>(resources.replicasets);
    this.#pods = this.#context.informers.store<Pod>(resources.pods);
    this.#events = this.#context.events('deployment-controller');
    this.#queue = createControllerQueue(this.#context, {
      name: 'deployment',
      stores: [this.#deployments, this.#sets, this.#pods],
      concurrency: 8,
      handle: (key) => this.#handle(key),
    });
    const onDeployment = this.#deployments.subscribe((key) => this.#queue.add(key));
    const onSet = this.#sets.subscribe((_key, now, before) => {
      for (const set of [now, before]) {
        const owner = set && controllerOf(set);
        if (owner?.kind === 'Deployment') this.#queue.add(`${set!.metadata.namespace}/${owner.name}`);
      }
      if (now && !controllerOf(now) && !now.metadata.deletionTimestamp) {
        for (const deployment of this.#deployments.by('namespace', now.metadata.namespace ?? '')) {
          if (matchLabelSelector(deployment.spec.selector)(now.metadata.labels)) this.#queue.add(objectKey(deployment));
        }
      }
    });
    // Recreate waits for the old pods to be gone.
    const onPod = this.#pods.subscribe((_key, now, before) => {
      if (now || !before) return;
      const setName = controllerOf(before)?.name;
      const set = setName ? this.#sets.get(`${before.metadata.namespace}/${setName}`) : undefined;
      const owner = set && controllerOf(set);
      if (owner?.kind === 'Deployment') this.#queue.add(`${before.metadata.namespace}/${owner.name}`);
    });
    this.#parts = controllerOfParts([this.#queue], [onDeployment, onSet, onPod]);
  }
  stop(): Promise<void> {
    return this.#parts.stop();
  }

  async #createSet(
    deployment: Deployment,
    step: Extract<DeploymentStep, { kind: 'createSet' }>,
    result: RoundResult,
  ): Promise<void> {
    const draft = newSetDraft(deployment, step);
    const key = objectKey(draft);
    try {
      const set = await this.#sets.create(draft);
      result.created = set.metadata.name;
      if (step.replicas > 0) this.#tellScale(deployment, set.metadata.name, 0, step.replicas);
    } catch (error) {
      if (!isAlreadyExists(error)) {
        result.failure = (error as Error).message;
        this.#events.event(
          deployment,
          'Warning',
          'ReplicaSetCreateError',
          `Failed to create new replica set "${key.split('/')[1]}": ${result.failure}`,
        );
        return;
      }
      const taken =
        this.#sets.get(key) ??
        (await this.#context.client.get(resources.replicasets, draft.metadata.name, {
          namespace: draft.metadata.namespace!,
        }));
      const ours =
        controllerOf(taken)?.uid === deployment.metadata.uid &&
        sameTemplate(taken.spec?.template, deployment.spec.template);
      if (ours) this.#sets.noteWritten(taken);
      // Another template has the same hash: count, and hash again with the count.
      else result.collisionCount = (deployment.status?.collisionCount ?? 0) + 1;
    }
  }

  #tellScale(deployment: Deployment, name: string, from: number, to: number): void {
    const way = to > from ? 'up' : 'down';
    this.#events.event(
      deployment,
      'Normal',
      'ScalingReplicaSet',
      `Scaled ${way} replica set ${name} from ${from} to ${to}`,
    );
  }

  async #act(deployment: Deployment, step: DeploymentStep, result: RoundResult): Promise<void> {
    switch (step.kind) {
      case 'createSet':
        return this.#createSet(deployment, step, result);
      case 'annotateSet': {
        const { resourceVersion } = step.set.metadata;
        const spec = { minReadySeconds: step.minReadySeconds };
        await this.#sets.patch(step.set.metadata, {
          metadata: { resourceVersion, annotations: step.annotations },
          spec,
        });
        return;
      }
      case 'setRevision':
        await this.#deployments.patch(deployment.metadata, {
          metadata: { annotations: { [revisionAnnotation]: step.revision } },
        });
        return;
      case 'scale': {
        const set = this.#sets.get(objectKey(step.set)) ?? step.set;
        const { resourceVersion } = set.metadata;
        const patch = { metadata: { resourceVersion, annotations: step.annotations }, spec: { replicas: step.to } };
        await this.#sets.patch(set.metadata, patch);
        if (step.from !== step.to) this.#tellScale(deployment, set.metadata.name, step.from, step.to);
        return;
      }
      case 'deleteSet':
        await this.#sets.delete(step.set, { propagationPolicy: 'Background' });
    }
  }

  async #writeStatus(key: string, result: RoundResult): Promise<void> {
    const deployment = this.#deployments.get(key);
    if (!deployment) return;
    const { status, againMs } = deploymentStatus(this.#factsOf(deployment), result);
    if (!sameJson(status, deployment.status)) {
      await this.#deployments.update({ ...deployment, status }, { subresource: 'status' });
    }
    if (againMs !== undefined) this.#queue.addAfter(key, againMs);
  }

  #factsOf(deployment: Deployment) {
    return deploymentFacts(
      deployment,
      this.#sets.by('owner', deployment.metadata.uid),
      ({ metadata }) => this.#pods.by('owner', metadata.uid),
      this.#context.clock.now(),
    );
  }

  async #handle(key: string): Promise<void> {
    const deployment = this.#deployments.get(key);
    if (!deployment) return;
    const matches = matchLabelSelector(deployment.spec.selector);
    const claimant: Claimant = { owner: deployment, apiVersion: 'apps/v1', kind: 'Deployment', matches };
    await actClaims(claimant, planClaims(claimant, claimCandidates(this.#sets, deployment)), this.#sets);
    const result: RoundResult = {};
    for (let round = 0; round < roundsAtOnce; round++) {
      const current = this.#deployments.get(key);
      if (!current || current.metadata.uid !== deployment.metadata.uid) return;
      const steps = planDeployment(this.#factsOf(current));
      if (steps.length === 0) break;
      for (const step of steps) await this.#act(current, step, result);
      if (result.failure || result.collisionCount !== undefined) break;
    }
    await this.#writeStatus(key, result);
    if (result.collisionCount !== undefined) this.#queue.add(key);
    if (result.failure) throw new Error(result.failure);
  }
}

function newSetDraft(deployment: Deployment, step: Extract<DeploymentStep, { kind: 'createSet' }>) {
  const { template, selector, minReadySeconds = 0 } = deployment.spec;
  const hash = shortHash(template, deployment.status?.collisionCount);
  const labels = { ...template.metadata?.labels, [hashLabel]: hash };
  return {
    metadata: {
      name: `${deployment.metadata.name}-${hash}`,
      namespace: deployment.metadata.namespace!,
      labels,
      annotations: step.annotations,
      ownerReferences: [controllerReference(deployment, 'apps/v1', 'Deployment')],
    },
    spec: {
      replicas: step.replicas,
      minReadySeconds,
      selector: { ...selector, matchLabels: { ...selector.matchLabels, [hashLabel]: hash } },
      template: { ...template, metadata: { ...template.metadata, labels } },
    },
  };
}
