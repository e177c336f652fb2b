import { type CronJob, controllerOf, type Job, objectKey, resources } from '../../../api/index.ts';
import type { KeyedQueue } from '../../../async/index.ts';
import type { EventRecorder } from '../../../client/index.ts';
import { isAlreadyExists } from '../../../client/index.ts';
import {
  apiTime,
  type Controller,
  type ControllerContext,
  controllerOfParts,
  controllerReference,
  createControllerQueue,
  sameJson,
  timeMs,
} from '../framework/controller.ts';
import type { Store } from '../framework/store.ts';
import { outcomeOf } from '../job/plan.ts';
import { lastDue, nextDue, parseSchedule, type Schedule } from './schedule.ts';

const timestampAnnotation = 'batch.kubernetes.io/cronjob-scheduled-timestamp';

/** Makes the Jobs of CronJobs when they are due. */
export function startCronJobController(context: ControllerContext): Controller {
  return new CronJobController(context);
}

class CronJobController implements Controller {
  readonly #context: ControllerContext;
  readonly #crons: Store<CronJob>;
  readonly #jobs: Store<Job>;
  readonly #events: EventRecorder;
  readonly #queue: KeyedQueue;
  readonly #parts: Controller;

  constructor(context: ControllerContext) {
    this.#context = context;
    this.#crons = this.#context.informers.store<CronJob>(resources.cronjobs);
    this.#jobs = this.#context.informers.store<Job>(resources.jobs);
    this.#events = this.#context.events('cronjob-controller');
    this.#queue = createControllerQueue(this.#context, {
      name: 'cronjob',
      stores: [this.#crons, this.#jobs],
      handle: (key) => this.#handle(key),
    });
    const onCron = this.#crons.subscribe((key) => this.#queue.add(key));
    const onJob = this.#jobs.subscribe((_key, now, before) => {
      const job = now ?? before!;
      const owner = controllerOf(job);
      if (owner?.kind === 'CronJob') this.#queue.add(`${job.metadata.namespace}/${owner.name}`);
    });
    this.#parts = controllerOfParts([this.#queue], [onCron, onJob]);
  }
  stop(): Promise<void> {
    return this.#parts.stop();
  }

  async #trimHistory(cron: CronJob, owned: readonly Job[]): Promise<void> {
    const { successfulJobsHistoryLimit = 3, failedJobsHistoryLimit = 1 } = cron.spec!;
    for (const [outcome, limit] of [
      ['Complete', successfulJobsHistoryLimit],
      ['Failed', failedJobsHistoryLimit],
    ] as const) {
      const ended = owned
        .filter((job) => outcomeOf(job) === outcome)
        .sort((a, b) => timeMs(a.status?.startTime) - timeMs(b.status?.startTime));
      for (const job of ended.slice(0, Math.max(0, ended.length - limit))) {
        await this.#jobs.delete(job, { propagationPolicy: 'Background' });
        this.#events.event(cron, 'Normal', 'SuccessfulDelete', `Deleted job ${job.metadata.name}`);
      }
    }
  }

  async #startJob(cron: CronJob, at: number): Promise<Job | undefined> {
    const { jobTemplate } = cron.spec!;
    const { namespace, name } = cron.metadata;
    try {
      const job = await this.#jobs.create({
        metadata: {
          name: `${name}-${Math.floor(at / 60_000)}`,
          namespace: namespace!,
          labels: { ...jobTemplate.metadata?.labels },
          annotations: { ...jobTemplate.metadata?.annotations, [timestampAnnotation]: apiTime(at) },
          ownerReferences: [controllerReference(cron, 'batch/v1', 'CronJob')],
        },
        spec: structuredClone(jobTemplate.spec!),
      });
      this.#events.event(cron, 'Normal', 'SuccessfulCreate', `Created job ${job.metadata.name}`);
      return job;
    } catch (error) {
      if (isAlreadyExists(error)) return undefined;
      this.#events.event(cron, 'Warning', 'FailedCreate', `Error creating job: ${(error as Error).message}`);
      throw error;
    }
  }

  /** The time for which a Job is due now, if the policies let it start. */
  async #dueNow(cron: CronJob, schedule: Schedule, active: readonly Job[], now: number): Promise<number | undefined> {
    const { startingDeadlineSeconds, concurrencyPolicy = 'Allow', timeZone } = cron.spec!;
    let earliest = timeMs(cron.status?.lastScheduleTime) || timeMs(cron.metadata.creationTimestamp);
    if (startingDeadlineSeconds !== undefined) earliest = Math.max(earliest, now - startingDeadlineSeconds * 1000);
    const { at, tooMany } = lastDue(schedule, earliest, now, timeZone);
    if (tooMany)
      this.#events.event(
        cron,
        'Warning',
        'TooManyMissedTimes',
        'too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew',
      );
    if (at === undefined || timeMs(cron.status?.lastScheduleTime) >= at) return undefined;
    if (concurrencyPolicy === 'Forbid' && active.length > 0) {
      this.#events.event(
        cron,
        'Normal',
        'JobAlreadyActive',
        'Not starting job because prior execution is running and concurrency policy is Forbid',
      );
      return undefined;
    }
    if (concurrencyPolicy === 'Replace') {
      for (const job of active) {
        await this.#jobs.delete(job, { propagationPolicy: 'Background' });
        this.#events.event(cron, 'Normal', 'SuccessfulDelete', `Deleted job ${job.metadata.name}`);
      }
    }
    return at;
  }

  #parse(cron: CronJob): Schedule | undefined {
    try {
      return parseSchedule(cron.spec!.schedule);
    } catch (error) {
      this.#events.event(
        cron,
        'Warning',
        'UnparseableSchedule',
        `unparseable schedule ${JSON.stringify(cron.spec!.schedule)}: ${(error as Error).message}`,
      );
      return undefined;
    }
  }

  async #handle(key: string): Promise<void> {
    const cron = this.#crons.get(key);
    if (!cron?.spec || cron.metadata.deletionTimestamp) return;
    const owned = this.#jobs.by('owner', cron.metadata.uid).filter(({ metadata }) => !metadata.deletionTimestamp);
    await this.#trimHistory(cron, owned);
    const now = this.#context.clock.now();
    let active = owned.filter((job) => !outcomeOf(job));
    let { lastScheduleTime } = cron.status ?? {};
    const schedule = cron.spec.suspend ? undefined : this.#parse(cron);
    const due = schedule ? await this.#dueNow(cron, schedule, active, now) : undefined;
    if (due !== undefined) {
      const job = await this.#startJob(cron, due);
      if (cron.spec.concurrencyPolicy === 'Replace') active = [];
      if (job) active = [...active, job];
      lastScheduleTime = apiTime(due);
    }
    const successes = owned
      .filter((job) => outcomeOf(job) === 'Complete')
      .map((job) => timeMs(job.status?.completionTime));
    const lastSuccess = Math.max(timeMs(cron.status?.lastSuccessfulTime), ...successes);
    const status = {
      ...(active.length > 0 ? { active: active.map(referenceOf) } : {}),
      ...(lastScheduleTime ? { lastScheduleTime } : {}),
      ...(lastSuccess > 0 ? { lastSuccessfulTime: apiTime(lastSuccess) } : {}),
    };
    if (!sameJson(status, cron.status ?? {})) await this.#crons.update({ ...cron, status }, { subresource: 'status' });
    const next = schedule && nextDue(schedule, now, cron.spec.timeZone);
    if (next !== undefined) this.#queue.addAfter(key, next - now + 1);
  }
}

function referenceOf(job: Job) {
  const [namespace] = objectKey(job).split('/');
  const { name, uid, resourceVersion } = job.metadata;
  return { apiVersion: 'batch/v1', kind: 'Job', name, namespace: namespace!, uid, resourceVersion };
}
