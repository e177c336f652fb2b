import type { Container, Pod } from '../../api/index.ts';
import { PodError } from '../errors.ts';
import { act } from './act.ts';
import { crashDelay, remainingDelay } from './crash-backoff.ts';
import { type PodKit, retryInMs } from './kit.ts';
import { containerHash, formatPod, parseTime } from './names.ts';
import { type PlanInput, planPod, removableContainers } from './plan.ts';
import type { PodRecord } from './pod-record.ts';
import type { RuntimeContainer } from './runtime-state.ts';
import type { Plan } from './steps.ts';

/** What came out of a sync. */
export interface SyncOutcome {
  /** The pod has come to its end by itself. */
  finished: boolean;
  /** Look again after so many milliseconds. */
  againInMs?: number;
}

/** A plan whose steps change nothing would be carried out again and again: give up the turn after so many. */
const mostRounds = 50;

/** Plans and acts until there is nothing to do for the pod but to wait. @throws the signal's reason when it is to end */
export async function syncPod(kit: PodKit, record: PodRecord): Promise<SyncOutcome> {
  const { signal } = record.abort;
  for (let round = 0; round < mostRounds; round++) {
    signal.throwIfAborted();
    const deadlineMs = deadlineInMs(kit, record);
    if (deadlineMs !== undefined && deadlineMs <= 0) {
      const message = 'Pod was active on the node longer than the specified deadline';
      kit.events.normal(record.pod, 'DeadlineExceeded', message);
      record.failure = { reason: 'DeadlineExceeded', message };
      return { finished: true };
    }
    const plan = planPod(planInput(kit, record));
    if (round === 0 && plan.steps.length > 0) kit.timelines.note(record.pod, 'planned');
    tellCrashLoops(kit, record, plan);
    kit.publish(record);
    if (plan.finished) return { finished: true };
    if (plan.steps.length === 0) {
      kit.volumes.adopt(record.pod);
      if (retryInMs(kit, record, 'resize') === 0 && kit.resizes.completed(record.pod)) kit.publish(record);
      await removeOldContainers(kit, record);
      return { finished: false, ...earliest(plan.againInMs, deadlineMs) };
    }
    const failed = await carryOut(kit, record, plan);
    if (failed) return { finished: false, ...earliest(retryDelay(kit, record), deadlineMs) };
  }
  kit.log.warn('a pod does not settle', { pod: formatPod(record.pod) });
  return { finished: false, againInMs: 1000 };
}

/** Runs the steps of a plan; true when the pod cannot go on now. */
async function carryOut(kit: PodKit, record: PodRecord, plan: Plan): Promise<boolean> {
  for (const step of plan.steps) {
    record.abort.signal.throwIfAborted();
    try {
      await act(kit, record, step);
    } catch (error) {
      record.abort.signal.throwIfAborted();
      if (!(error instanceof PodError))
        kit.log.warn('a step of a pod failed', { pod: formatPod(record.pod), step: step.kind, error });
      return true;
    }
  }
  return false;
}

function planInput(kit: PodKit, record: PodRecord): PlanInput {
  const { pod } = record;
  return {
    pod,
    runtime: kit.cache.pod(pod.metadata.uid!),
    crashBackoff: (container, ended) => {
      const delayMs = crashDelay(ended, containerHash(container), kit.settings.crashLoopMaximumMs);
      return { remainingMs: remainingDelay(ended, delayMs, kit.clock.monotonic()), delayMs };
    },
    known: (name) => knownContainer(record, name),
    retryInMs: (what) =>
      Math.max(retryInMs(kit, record, what), what === 'sandbox' ? retryInMs(kit, record, 'volumes') : 0),
    startupProbe: (container, running) => startupVerdict(kit, record, container, running),
    livenessFailed: (container) => kit.probes.liveness(container) === 'failure' && !record.stopping.has(container.id),
    resize: (container) => howToResize(kit, pod, container),
    podResize: kit.resizes.openOfPod(pod).length > 0 || kit.cgroups.isOpen(pod),
  };
}

/** A running container gets other resources as it is, or is restarted if it says so for one of those that change. */
function howToResize(kit: PodKit, pod: Pod, container: Container): 'none' | 'update' | 'restart' {
  const open: readonly string[] = kit.resizes.open(pod, container.name);
  if (open.length === 0) return 'none';
  const restarts = container.resizePolicy?.some(
    ({ resourceName, restartPolicy }) => restartPolicy === 'RestartContainer' && open.includes(resourceName),
  );
  return restarts ? 'restart' : 'update';
}

/** What the status says of a container that the runtime may have lost. */
function knownContainer({ status }: PodRecord, name: string): { started: boolean; exitCode?: number } {
  const { initContainerStatuses = [], containerStatuses = [], ephemeralContainerStatuses = [] } = status ?? {};
  const one = [...initContainerStatuses, ...containerStatuses, ...ephemeralContainerStatuses].find(
    (each) => each.name === name,
  );
  if (!one?.containerID) return { started: false };
  const exitCode = one.state?.terminated?.exitCode;
  return { started: one.state?.waiting === undefined, ...(exitCode === undefined ? {} : { exitCode }) };
}

function startupVerdict(kit: PodKit, record: PodRecord, _container: Container, running: RuntimeContainer) {
  if (record.inPostStart.has(running.id)) return 'pending';
  const verdict = kit.probes.startup(running);
  return verdict === 'none' ? 'success' : verdict;
}

/** Containers in their back-off show it, and say so once each time. */
function tellCrashLoops(kit: PodKit, record: PodRecord, plan: Plan): void {
  const { pod } = record;
  for (const [name, waiting] of record.waiting) {
    if (waiting.reason === 'CrashLoopBackOff' && !plan.crashLooping.has(name)) record.waiting.delete(name);
  }
  for (const [name, delayMs] of plan.crashLooping) {
    const message = `back-off ${formatDelay(delayMs)} restarting failed container=${name} pod=${formatPod(pod)}`;
    if (record.waiting.get(name)?.message !== message) {
      const text = `Back-off restarting failed container ${name} in pod ${formatPod(pod)}`;
      kit.events.warning(pod, 'BackOff', text, name);
    }
    record.waiting.set(name, { reason: 'CrashLoopBackOff', message });
  }
}

function formatDelay(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
}

/** Milliseconds until the pod has been active for as long as it may. Counted on the clock that does not jump. */
export function deadlineInMs(kit: PodKit, record: PodRecord): number | undefined {
  const { pod, status, startedAt } = record;
  const seconds = pod.spec!.activeDeadlineSeconds;
  if (seconds === undefined || seconds === null) return undefined;
  const activeMs = Math.max(0, kit.clock.now() - (parseTime(status?.startTime) ?? startedAt));
  record.activeSince ??= kit.clock.monotonic() - activeMs;
  return record.activeSince + seconds * 1000 - kit.clock.monotonic();
}

function retryDelay(kit: PodKit, record: PodRecord): number {
  const delays = [...record.retryAt.keys()].map((what) => retryInMs(kit, record, what)).filter((ms) => ms > 0);
  return delays.length > 0 ? Math.min(...delays) : 1000;
}

function earliest(...times: (number | undefined)[]): { againInMs?: number } {
  const known = times.filter((ms) => ms !== undefined);
  return known.length > 0 ? { againInMs: Math.min(...known) } : {};
}

async function removeOldContainers(kit: PodKit, record: PodRecord): Promise<void> {
  for (const step of removableContainers(kit.cache.pod(record.pod.metadata.uid!))) {
    await act(kit, record, step).catch((error: unknown) => {
      kit.log.warn('cannot remove an old container', { pod: formatPod(record.pod), error });
    });
  }
}
