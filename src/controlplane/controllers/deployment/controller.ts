import {
  controllerOf,
  type Deployment,
  matchLabelSelector,
  objectKey,
  type Pod,
  type ReplicaSet,
  resources,
} from '../../../api/index.ts';
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
import { hashLabel, revisionAnnotation, sameTemplate } from './annotations.ts';
import { deploymentFacts } from './facts.ts';
import { type DeploymentStep, planDeployment } from './plan.ts';
import { deploymentStatus, type RoundResult } from './status.ts';

/** Rounds in one go: each plan sees what the one before has written. */
const roundsAtOnce = 8;

/** Rolls Deployments out by growing and shrinking their ReplicaSets. */
export function startDeploymentController(context: ControllerContext): Controller {
  const deployments = context.informers.store<Deployment>(resources.deployments);
  const sets = context.informers.store<ReplicaSet>(resources.replicasets);
  const pods = context.informers.store<Pod>(resources.pods);
  const events = context.events('deployment-controller');

  const createSet = async (
    deployment: Deployment,
    step: Extract<DeploymentStep, { kind: 'createSet' }>,
    result: RoundResult,
  ): Promise<void> => {
    const draft = newSetDraft(deployment, step);
    const key = objectKey(draft);
    try {
      const set = await sets.create(draft);
      result.created = set.metadata.name;
      if (step.replicas > 0) tellScale(deployment, set.metadata.name, 0, step.replicas);
    } catch (error) {
      if (!isAlreadyExists(error)) {
        result.failure = (error as Error).message;
        events.event(
          deployment,
          'Warning',
          'ReplicaSetCreateError',
          `Failed to create new replica set "${key.split('/')[1]}": ${result.failure}`,
        );
        return;
      }
      const taken =
        sets.get(key) ??
        (await context.client.get(resources.replicasets, draft.metadata.name, {
          namespace: draft.metadata.namespace!,
        }));
      const ours =
        controllerOf(taken)?.uid === deployment.metadata.uid &&
        sameTemplate(taken.spec?.template, deployment.spec.template);
      if (ours) sets.noteWritten(taken);
      // Another template has the same hash: count, and hash again with the count.
      else result.collisionCount = (deployment.status?.collisionCount ?? 0) + 1;
    }
  };
  const tellScale = (deployment: Deployment, name: string, from: number, to: number): void => {
    const way = to > from ? 'up' : 'down';
    events.event(deployment, 'Normal', 'ScalingReplicaSet', `Scaled ${way} replica set ${name} from ${from} to ${to}`);
  };
  const act = async (deployment: Deployment, step: DeploymentStep, result: RoundResult): Promise<void> => {
    switch (step.kind) {
      case 'createSet':
        return createSet(deployment, step, result);
      case 'annotateSet': {
        const { resourceVersion } = step.set.metadata;
        const spec = { minReadySeconds: step.minReadySeconds };
        await sets.patch(step.set.metadata, { metadata: { resourceVersion, annotations: step.annotations }, spec });
        return;
      }
      case 'setRevision':
        await deployments.patch(deployment.metadata, {
          metadata: { annotations: { [revisionAnnotation]: step.revision } },
        });
        return;
      case 'scale': {
        const set = sets.get(objectKey(step.set)) ?? step.set;
        const { resourceVersion } = set.metadata;
        const patch = { metadata: { resourceVersion, annotations: step.annotations }, spec: { replicas: step.to } };
        await sets.patch(set.metadata, patch);
        if (step.from !== step.to) tellScale(deployment, set.metadata.name, step.from, step.to);
        return;
      }
      case 'deleteSet':
        await sets.delete(step.set, { propagationPolicy: 'Background' });
    }
  };
  const writeStatus = async (key: string, result: RoundResult): Promise<void> => {
    const deployment = deployments.get(key);
    if (!deployment) return;
    const { status, againMs } = deploymentStatus(factsOf(deployment), result);
    if (!sameJson(status, deployment.status)) {
      await deployments.update({ ...deployment, status }, { subresource: 'status' });
    }
    if (againMs !== undefined) queue.addAfter(key, againMs);
  };
  const factsOf = (deployment: Deployment) =>
    deploymentFacts(
      deployment,
      sets.by('owner', deployment.metadata.uid),
      ({ metadata }) => pods.by('owner', metadata.uid),
      context.clock.now(),
    );

  const handle = async (key: string): Promise<void> => {
    const deployment = deployments.get(key);
    if (!deployment) return;
    const matches = matchLabelSelector(deployment.spec.selector);
    const claimant: Claimant = { owner: deployment, apiVersion: 'apps/v1', kind: 'Deployment', matches };
    await actClaims(claimant, planClaims(claimant, claimCandidates(sets, deployment)), sets);
    const result: RoundResult = {};
    for (let round = 0; round < roundsAtOnce; round++) {
      const current = deployments.get(key);
      if (!current || current.metadata.uid !== deployment.metadata.uid) return;
      const steps = planDeployment(factsOf(current));
      if (steps.length === 0) break;
      for (const step of steps) await act(current, step, result);
      if (result.failure || result.collisionCount !== undefined) break;
    }
    await writeStatus(key, result);
    if (result.collisionCount !== undefined) queue.add(key);
    if (result.failure) throw new Error(result.failure);
  };
  const queue = createControllerQueue(context, {
    name: 'deployment',
    stores: [deployments, sets, pods],
    concurrency: 8,
    handle,
  });

  const onDeployment = deployments.subscribe((key) => queue.add(key));
  const onSet = sets.subscribe((_key, now, before) => {
    for (const set of [now, before]) {
      const owner = set && controllerOf(set);
      if (owner?.kind === 'Deployment') queue.add(`${set!.metadata.namespace}/${owner.name}`);
    }
    if (now && !controllerOf(now) && !now.metadata.deletionTimestamp) {
      for (const deployment of deployments.by('namespace', now.metadata.namespace ?? '')) {
        if (matchLabelSelector(deployment.spec.selector)(now.metadata.labels)) queue.add(objectKey(deployment));
      }
    }
  });
  // Recreate waits for the old pods to be gone.
  const onPod = pods.subscribe((_key, now, before) => {
    if (now || !before) return;
    const setName = controllerOf(before)?.name;
    const set = setName ? sets.get(`${before.metadata.namespace}/${setName}`) : undefined;
    const owner = set && controllerOf(set);
    if (owner?.kind === 'Deployment') queue.add(`${before.metadata.namespace}/${owner.name}`);
  });
  return controllerOfParts([queue], [onDeployment, onSet, onPod]);
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
