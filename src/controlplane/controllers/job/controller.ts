import { controllerOf, type Job, matchLabelSelector, objectKey, type Pod, resources } from '../../../api/index.ts';
import { isNotFound } from '../../../client/index.ts';
import { actClaims, type Claimant, claimCandidates, planClaims, slowStart } from '../framework/claims.ts';
import {
  type Controller,
  type ControllerContext,
  controllerOfParts,
  controllerReference,
  createControllerQueue,
  sameJson,
  timeMs,
} from '../framework/controller.ts';
import { isPodActive, podFromTemplate } from '../framework/pods.ts';
import { indexAnnotation, outcomeOf, planJob, trackingFinalizer } from './plan.ts';

/** Runs Jobs to completion, and removes them when their time to live after that is over. */
export function startJobController(context: ControllerContext): Controller {
  const jobs = context.informers.store<Job>(resources.jobs);
  const pods = context.informers.store<Pod>(resources.pods);
  const events = context.events('job-controller');

  const createPod = async (job: Job, index: number | undefined): Promise<void> => {
    try {
      const pod = await pods.create(podOf(job, index));
      events.event(job, 'Normal', 'SuccessfulCreate', `Created pod: ${pod.metadata.name}`);
    } catch (error) {
      events.event(job, 'Warning', 'FailedCreate', `Error creating: ${(error as Error).message}`);
      throw error;
    }
  };
  /** Lets go of a counted pod: it may be deleted from now on. */
  const release = async (pod: Pod): Promise<void> => {
    const finalizers = (pod.metadata.finalizers ?? []).filter((one) => one !== trackingFinalizer);
    const { uid, resourceVersion } = pod.metadata;
    try {
      await pods.patch(pod.metadata, { metadata: { uid, resourceVersion, finalizers } });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  };
  const expire = async (key: string, job: Job): Promise<void> => {
    const ttl = job.spec?.ttlSecondsAfterFinished;
    if (ttl === undefined) return;
    const ended = job.status?.conditions?.find(
      ({ type, status }) => (type === 'Complete' || type === 'Failed') && status === 'True',
    );
    const left = timeMs(ended?.lastTransitionTime) + ttl * 1000 - context.clock.now();
    if (left > 0) queue.addAfter(key, left);
    else await jobs.delete(job, { propagationPolicy: 'Foreground' });
  };

  const handle = async (key: string): Promise<void> => {
    const job = jobs.get(key);
    if (!job?.spec) return;
    if (job.metadata.deletionTimestamp) {
      await Promise.all(
        pods
          .by('owner', job.metadata.uid)
          .filter((pod) => pod.metadata.finalizers?.includes(trackingFinalizer))
          .map(release),
      );
      return;
    }
    const claimant: Claimant = {
      owner: job,
      apiVersion: 'batch/v1',
      kind: 'Job',
      matches: matchLabelSelector(job.spec.selector),
    };
    await actClaims(claimant, planClaims(claimant, claimCandidates(pods, job), isPodActive), pods);
    const plan = planJob(job, pods.by('owner', job.metadata.uid), context.clock.now());
    const before = outcomeOf(job);
    // The count is written before the pods are let go: a crash in between counts none twice.
    let current = job;
    if (!sameJson(plan.status, job.status))
      current = await jobs.update({ ...job, status: plan.status }, { subresource: 'status' });
    await Promise.all(plan.counted.map(release));
    await Promise.all(
      plan.remove.map(async (pod) => {
        await pods.delete(pod);
        events.event(job, 'Normal', 'SuccessfulDelete', `Deleted pod: ${pod.metadata.name}`);
      }),
    );
    const { error } = await slowStart(plan.create.length, (i) => createPod(current, plan.create[i]));
    if (error) throw error;
    const outcome = outcomeOf(current);
    if (outcome && !before) tell(current, outcome);
    if (outcome) await expire(key, current);
    if (plan.againMs !== undefined) queue.addAfter(key, Math.max(1, plan.againMs));
  };
  const tell = (job: Job, outcome: 'Complete' | 'Failed'): void => {
    if (outcome === 'Complete') return events.event(job, 'Normal', 'Completed', 'Job completed');
    const { reason = '', message = '' } = job.status?.conditions?.find(({ type }) => type === 'Failed') ?? {};
    events.event(job, 'Warning', reason, message);
  };
  const queue = createControllerQueue(context, { name: 'job', stores: [jobs, pods], handle });
  const onJob = jobs.subscribe((key) => queue.add(key));
  const onPod = pods.subscribe((_key, now, before) => {
    for (const pod of [now, before]) {
      const owner = pod && controllerOf(pod);
      if (owner?.kind === 'Job') queue.add(`${pod!.metadata.namespace}/${owner.name}`);
    }
    // A Job that is gone cannot let go of its pods any more.
    const owner = now && controllerOf(now);
    if (
      owner?.kind === 'Job' &&
      now!.metadata.deletionTimestamp &&
      now!.metadata.finalizers?.includes(trackingFinalizer)
    ) {
      const job = jobs.get(`${now!.metadata.namespace}/${owner.name}`);
      if (jobs.informer.isSynced && job?.metadata.uid !== owner.uid)
        void release(now!).catch((error) => context.log.debug('pod not let go', { pod: objectKey(now!), error }));
    }
  });
  return controllerOfParts([queue], [onJob, onPod]);
}

function podOf(job: Job, index: number | undefined) {
  const draft = podFromTemplate(job.spec!.template);
  const { name, namespace } = job.metadata;
  const spec = draft.spec;
  const metadata = {
    ...draft.metadata,
    namespace: namespace!,
    generateName: index === undefined ? `${name}-` : `${name}-${index}-`,
    finalizers: [...(draft.metadata.finalizers ?? []), trackingFinalizer],
    ownerReferences: [controllerReference(job, 'batch/v1', 'Job')],
  };
  if (index === undefined) return { metadata, spec };
  const env = { name: 'JOB_COMPLETION_INDEX', value: String(index) };
  const withIndex = <C extends { env?: object[] }>(containers: C[]): C[] =>
    containers.map((one) => ({ ...one, env: [...(one.env ?? []), env] }));
  return {
    metadata: {
      ...metadata,
      labels: { ...metadata.labels, [indexAnnotation]: String(index) },
      annotations: { ...draft.metadata.annotations, [indexAnnotation]: String(index) },
    },
    spec: {
      ...spec,
      hostname: spec.hostname ?? `${name}-${index}`,
      containers: withIndex(spec.containers),
      ...(spec.initContainers ? { initContainers: withIndex(spec.initContainers) } : {}),
    },
  };
}
