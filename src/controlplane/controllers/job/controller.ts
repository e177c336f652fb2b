import { controllerOf, type Job, matchLabelSelector, objectKey, type Pod, resources } from '../../../api/index.ts';
import type { KeyedQueue } from '../../../async/index.ts';
import type { EventRecorder } from '../../../client/index.ts';
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
import type { Store } from '../framework/store.ts';
import { indexAnnotation, outcomeOf, planJob, trackingFinalizer } from './plan.ts';

/** Runs Jobs to completion, and removes them when their time to live after that is over. */
export function startJobController(context: ControllerContext): Controller {
  return new JobController(context);
}

class JobController implements Controller {
  readonly #context: ControllerContext;
  readonly #jobs: Store<Job>;
  readonly #pods: Store<Pod>;
  readonly #events: EventRecorder;
  readonly #queue: KeyedQueue;
  readonly #parts: Controller;

  constructor(context: ControllerContext) {
    this.#context = context;
    this.#jobs = this.#context.informers.store<Job>(resources.jobs);
    this.#pods = this.#context.informers.store<Pod>(resources.pods);
    this.#events = this.#context.events('job-controller');
    this.#queue = createControllerQueue(this.#context, {
      name: 'job',
      stores: [this.#jobs, this.#pods],
      handle: (key) => this.#handle(key),
    });
    const onJob = this.#jobs.subscribe((key) => this.#queue.add(key));
    const onPod = this.#pods.subscribe((_key, now, before) => {
      for (const pod of [now, before]) {
        const owner = pod && controllerOf(pod);
        if (owner?.kind === 'Job') this.#queue.add(`${pod!.metadata.namespace}/${owner.name}`);
      }
      // A Job that is gone cannot let go of its this.#pods any more.
      const owner = now && controllerOf(now);
      if (
        owner?.kind === 'Job' &&
        now!.metadata.deletionTimestamp &&
        now!.metadata.finalizers?.includes(trackingFinalizer)
      ) {
        const job = this.#jobs.get(`${now!.metadata.namespace}/${owner.name}`);
        if (this.#jobs.informer.isSynced && job?.metadata.uid !== owner.uid)
          void this.#release(now!).catch((error) =>
            this.#context.log.debug('pod not let go', { pod: objectKey(now!), error }),
          );
      }
    });
    this.#parts = controllerOfParts([this.#queue], [onJob, onPod]);
  }
  stop(): Promise<void> {
    return this.#parts.stop();
  }

  async #createPod(job: Job, index: number | undefined): Promise<void> {
    try {
      const pod = await this.#pods.create(podOf(job, index));
      this.#events.event(job, 'Normal', 'SuccessfulCreate', `Created pod: ${pod.metadata.name}`);
    } catch (error) {
      this.#events.event(job, 'Warning', 'FailedCreate', `Error creating: ${(error as Error).message}`);
      throw error;
    }
  }

  /** Lets go of a counted pod: it may be deleted from now on. */
  async #release(pod: Pod): Promise<void> {
    const finalizers = (pod.metadata.finalizers ?? []).filter((one) => one !== trackingFinalizer);
    const { uid, resourceVersion } = pod.metadata;
    try {
      await this.#pods.patch(pod.metadata, { metadata: { uid, resourceVersion, finalizers } });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  async #expire(key: string, job: Job): Promise<void> {
    const ttl = job.spec?.ttlSecondsAfterFinished;
    if (ttl === undefined) return;
    const ended = job.status?.conditions?.find(
      ({ type, status }) => (type === 'Complete' || type === 'Failed') && status === 'True',
    );
    const left = timeMs(ended?.lastTransitionTime) + ttl * 1000 - this.#context.clock.now();
    if (left > 0) this.#queue.addAfter(key, left);
    else await this.#jobs.delete(job, { propagationPolicy: 'Foreground' });
  }

  async #handle(key: string): Promise<void> {
    const job = this.#jobs.get(key);
    if (!job?.spec) return;
    if (job.metadata.deletionTimestamp) {
      await Promise.all(
        this.#pods
          .by('owner', job.metadata.uid)
          .filter((pod) => pod.metadata.finalizers?.includes(trackingFinalizer))
          .map((pod) => this.#release(pod)),
      );
      return;
    }
    const claimant: Claimant = {
      owner: job,
      apiVersion: 'batch/v1',
      kind: 'Job',
      matches: matchLabelSelector(job.spec.selector),
    };
    await actClaims(claimant, planClaims(claimant, claimCandidates(this.#pods, job), isPodActive), this.#pods);
    const plan = planJob(job, this.#pods.by('owner', job.metadata.uid), this.#context.clock.now());
    const before = outcomeOf(job);
    // The count is written before the this.#pods are let go: a crash in between counts none twice.
    let current = job;
    if (!sameJson(plan.status, job.status))
      current = await this.#jobs.update({ ...job, status: plan.status }, { subresource: 'status' });
    await Promise.all(plan.counted.map((pod) => this.#release(pod)));
    await Promise.all(
      plan.remove.map(async (pod) => {
        await this.#pods.delete(pod);
        this.#events.event(job, 'Normal', 'SuccessfulDelete', `Deleted pod: ${pod.metadata.name}`);
      }),
    );
    const { error } = await slowStart(plan.create.length, (i) => this.#createPod(current, plan.create[i]));
    if (error) throw error;
    const outcome = outcomeOf(current);
    if (outcome && !before) this.#tell(current, outcome);
    if (outcome) await this.#expire(key, current);
    if (plan.againMs !== undefined) this.#queue.addAfter(key, Math.max(1, plan.againMs));
  }

  #tell(job: Job, outcome: 'Complete' | 'Failed'): void {
    if (outcome === 'Complete') return this.#events.event(job, 'Normal', 'Completed', 'Job completed');
    const { reason = '', message = '' } = job.status?.conditions?.find(({ type }) => type === 'Failed') ?? {};
    this.#events.event(job, 'Warning', reason, message);
  }
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
