import type { Job, JobCondition, JobStatus, Pod } from '../../../api/index.ts';
import { apiTime, timeMs } from '../framework/controller.ts';
import { isPodActive, isPodFinished, isPodReady } from '../framework/pods.ts';
import { formatIndexes, parseIndexes } from './indexes.ts';

export const trackingFinalizer = 'batch.kubernetes.io/job-tracking';
export const indexAnnotation = 'batch.kubernetes.io/job-completion-index';

/** What to do for a Job: the status to write, then the pods to make or remove. */
export interface JobPlan {
  /** For each pod to make its index, or undefined for Jobs without. */
  create: (number | undefined)[];
  remove: Pod[];
  /** Finished pods whose outcome the status counts from now on: their finalizer may go. */
  counted: Pod[];
  status: JobStatus;
  /** When to look again, milliseconds. */
  againMs?: number;
}

/** Whether the Job has ended, and how. */
export function outcomeOf(job: Job): 'Complete' | 'Failed' | undefined {
  const ended = job.status?.conditions?.find(
    ({ type, status }) => (type === 'Complete' || type === 'Failed') && status === 'True',
  );
  return ended?.type as 'Complete' | 'Failed' | undefined;
}

/** The completion index of a pod. */
export function indexOf(pod: Pod): number | undefined {
  const text = pod.metadata.annotations?.[indexAnnotation];
  return text === undefined ? undefined : Number(text);
}

/** First and longest delay after failures, milliseconds. */
const backoff = { firstMs: 10_000, longestMs: 600_000 };

/** Counts what has finished, decides whether the Job is over, and otherwise how many pods should run. */
export function planJob(job: Job, pods: readonly Pod[], now: number): JobPlan {
  const spec = job.spec!;
  const status: JobStatus = { ...job.status, conditions: [...(job.status?.conditions ?? [])] };
  const plan: JobPlan = { create: [], remove: [], counted: [], status };
  const active = pods.filter(isPodActive);
  if (outcomeOf(job)) return { ...plan, counted: pods.filter(hasFinalizer), remove: active };
  const done = countFinished(job, pods, plan);
  if (!spec.suspend && !status.startTime) status.startTime = apiTime(now);
  const failure = failureOf(job, status, pods, now);
  const wanted = spec.completions;
  const complete =
    wanted === undefined
      ? (status.succeeded ?? 0) > 0 && active.length === 0
      : spec.completionMode === 'Indexed'
        ? done.size >= wanted
        : (status.succeeded ?? 0) >= wanted;
  if (failure || complete || spec.suspend) plan.remove = active;
  if (failure) setCondition(status, 'Failed', failure.reason, failure.message, now);
  else if (complete) {
    setCondition(status, 'Complete', 'CompletionsReached', 'Reached expected number of succeeded pods', now);
    status.completionTime = apiTime(now);
  } else if (spec.suspend) {
    setSuspended(status, true, now);
    delete status.startTime;
  } else {
    setSuspended(status, false, now);
    planPods(job, pods, active, done, plan, now);
  }
  const running = active.filter((pod) => !plan.remove.includes(pod));
  setCounts(status, running, pods);
  if (spec.activeDeadlineSeconds !== undefined && status.startTime && !failure && !complete) {
    const left = timeMs(status.startTime) + spec.activeDeadlineSeconds * 1000 - now;
    plan.againMs = Math.min(plan.againMs ?? left, left);
  }
  return plan;
}

function hasFinalizer(pod: Pod): boolean {
  return pod.metadata.finalizers?.includes(trackingFinalizer) ?? false;
}

/** Adds newly finished pods to the status; a pod is counted exactly as long as it has its finalizer. */
function countFinished(job: Job, pods: readonly Pod[], plan: JobPlan): Set<number> {
  const { status } = plan;
  const done = parseIndexes(status.completedIndexes);
  for (const pod of pods) {
    const lost = pod.metadata.deletionTimestamp && !isPodFinished(pod) && !pod.spec.nodeName;
    if (!hasFinalizer(pod) || !(isPodFinished(pod) || lost)) continue;
    plan.counted.push(pod);
    const index = indexOf(pod);
    if (pod.status?.phase !== 'Succeeded') status.failed = (status.failed ?? 0) + 1;
    else if (job.spec?.completionMode !== 'Indexed') status.succeeded = (status.succeeded ?? 0) + 1;
    else if (index !== undefined) done.add(index);
  }
  if (job.spec?.completionMode === 'Indexed') {
    status.completedIndexes = formatIndexes(done);
    if (status.completedIndexes === '') delete status.completedIndexes;
    if (done.size > 0) status.succeeded = done.size;
  }
  return done;
}

function failureOf(
  job: Job,
  status: JobStatus,
  pods: readonly Pod[],
  now: number,
): { reason: string; message: string } | undefined {
  const { backoffLimit = 6, activeDeadlineSeconds } = job.spec!;
  if (
    activeDeadlineSeconds !== undefined &&
    status.startTime &&
    now - timeMs(status.startTime) >= activeDeadlineSeconds * 1000
  ) {
    return { reason: 'DeadlineExceeded', message: 'Job was active longer than specified deadline' };
  }
  const restarts =
    job.spec!.template.spec.restartPolicy === 'OnFailure'
      ? pods.filter(isPodActive).reduce((sum, pod) => sum + restartsOf(pod), 0)
      : 0;
  const tooMany = (status.failed ?? 0) > backoffLimit || (restarts > 0 && restarts >= Math.max(1, backoffLimit));
  return tooMany
    ? { reason: 'BackoffLimitExceeded', message: 'Job has reached the specified backoff limit' }
    : undefined;
}

function restartsOf(pod: Pod): number {
  const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
  return statuses.reduce((sum, { restartCount }) => sum + restartCount, 0);
}

function planPods(
  job: Job,
  pods: readonly Pod[],
  active: readonly Pod[],
  done: ReadonlySet<number>,
  plan: JobPlan,
  now: number,
): void {
  const { parallelism = 1, completions, completionMode, podReplacementPolicy } = job.spec!;
  const { succeeded = 0 } = plan.status;
  const wanted =
    completions === undefined
      ? succeeded > 0
        ? active.length
        : parallelism
      : Math.min(parallelism, completions - succeeded);
  const leaving =
    podReplacementPolicy === 'Failed'
      ? pods.filter((pod) => pod.metadata.deletionTimestamp && !isPodFinished(pod)).length
      : 0;
  const difference = wanted - active.length - leaving;
  if (difference < 0) {
    const order = [...active].sort((a, b) => Number(isPodReady(a)) - Number(isPodReady(b)));
    plan.remove.push(...order.slice(0, Math.min(active.length, -difference)));
    return;
  }
  const waitMs = failureDelay(pods, now);
  if (difference > 0 && waitMs > 0) {
    plan.againMs = waitMs;
    return;
  }
  if (completionMode !== 'Indexed') {
    for (let i = 0; i < difference; i++) plan.create.push(undefined);
    return;
  }
  const taken = new Set([...done, ...active.map(indexOf)]);
  for (let index = 0; index < completions! && plan.create.length < difference; index++) {
    if (!taken.has(index)) plan.create.push(index);
  }
}

/** After failures new pods wait: 10 s, then twice that for each further failure since the last success. */
function failureDelay(pods: readonly Pod[], now: number): number {
  const finishedAt = (pod: Pod) =>
    Math.max(
      timeMs(pod.metadata.creationTimestamp),
      ...(pod.status?.containerStatuses ?? []).map(({ state }) => timeMs(state?.terminated?.finishedAt)),
    );
  const lastSuccess = Math.max(0, ...pods.filter(({ status }) => status?.phase === 'Succeeded').map(finishedAt));
  const failed = pods.filter((pod) => pod.status?.phase === 'Failed' && finishedAt(pod) > lastSuccess);
  if (failed.length === 0) return 0;
  const delay = Math.min(backoff.firstMs * 2 ** (failed.length - 1), backoff.longestMs);
  return Math.max(0, Math.max(...failed.map(finishedAt)) + delay - now);
}

function setCounts(status: JobStatus, running: readonly Pod[], pods: readonly Pod[]): void {
  const set = (key: 'active' | 'ready' | 'terminating', value: number) => {
    if (value > 0 || key !== 'active') status[key] = value;
    else delete status[key];
  };
  set('active', running.length);
  set('ready', running.filter(isPodReady).length);
  set('terminating', pods.filter((pod) => pod.metadata.deletionTimestamp && !isPodFinished(pod)).length);
  status.uncountedTerminatedPods = {};
  if (status.conditions?.length === 0) delete status.conditions;
}

function setCondition(
  status: JobStatus,
  type: 'Complete' | 'Failed',
  reason: string,
  message: string,
  now: number,
): void {
  const time = apiTime(now);
  const make = (name: string): JobCondition => ({
    type: name,
    status: 'True',
    reason,
    message,
    lastProbeTime: time,
    lastTransitionTime: time,
  });
  const criterion = type === 'Complete' ? 'SuccessCriteriaMet' : 'FailureTarget';
  const others = (status.conditions ?? []).filter(
    (condition) => condition.type !== type && condition.type !== criterion,
  );
  status.conditions = [...others, make(criterion), make(type)];
}

function setSuspended(status: JobStatus, suspended: boolean, now: number): void {
  const before = status.conditions?.find(({ type }) => type === 'Suspended');
  const value = suspended ? 'True' : 'False';
  if (before?.status === value || (!before && !suspended)) return;
  const time = apiTime(now);
  const says = suspended
    ? { reason: 'JobSuspended', message: 'Job suspended' }
    : { reason: 'JobResumed', message: 'Job resumed' };
  const others = (status.conditions ?? []).filter(({ type }) => type !== 'Suspended');
  status.conditions = [
    ...others,
    { type: 'Suspended', status: value, ...says, lastProbeTime: time, lastTransitionTime: time },
  ];
}
