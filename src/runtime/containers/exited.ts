import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ContainerEventType } from '../../api/cri/index.ts';
import { faultPoint, type Timer } from '../../async/index.ts';
import { isRunning, mayRun } from '../../host/exec/index.ts';
import type { RuntimeContext } from '../context.ts';
import { unlessMissing } from '../errors.ts';
import { toNanoseconds } from '../identifiers.ts';
import type { ContainerPhase, ContainerRecord } from '../store/container-record.ts';
import { conmonFiles } from './conmon.ts';
import type { ContainerExit } from './exits.ts';
import { monitorOf } from './monitor.ts';
import { publishContainer } from './publish.ts';
import { clearTask } from './task-cleanup.ts';

/** How long after a process has gone its exit file may still come, milliseconds. */
const reportGraceMs = 3000;
/** When whoever waits for an exit first looks whether somebody is there to report it, and how often at most in the end, milliseconds. */
const lossLook = { firstMs: 10, lastMs: 250 };

/** Takes down that a container has ended, when its exit file (or the lack of its process and monitor) says so. */
export function noteExit(context: RuntimeContext, id: string): Promise<void> {
  return context.serial.run(`exit ${id}`, async () => {
    const record = context.store.containers.find(id);
    if (!record) return context.forgetExit(id);
    if (record.phase.name !== 'running') return;
    const exit = await context.readExit(id);
    if (!exit) return;
    await setExited(context, record, exit);
  });
}

/** Looks for running containers whose process is gone and whose monitor did not tell: the exit code is lost. */
export async function noteLostExits(context: RuntimeContext): Promise<void> {
  for (const record of context.store.containers.list()) {
    if (record.phase.name !== 'running' || isRunning(record.phase.process)) continue;
    const { id } = record;
    if (await monitorOf(context, id)) context.clock.after(reportGraceMs, () => void takeLostExit(context, id));
    else await takeLostExit(context, id);
  }
}

/** The same as a glance at each, for the most common case: nothing of the container and its monitor is there any more. */
export async function glanceAtExits(context: RuntimeContext): Promise<void> {
  for (const { id, phase } of context.store.containers.list())
    if (phase.name === 'running' && !mayRun(phase.process)) await takeIfLost(context, id);
}

/** Takes an exit as lost now, unless the exit file is there. */
export async function takeLostExit(context: RuntimeContext, id: string): Promise<void> {
  await noteExit(context, id);
  await context.serial.run(`exit ${id}`, async () => {
    const record = context.store.containers.find(id);
    if (record?.phase.name !== 'running' || isRunning(record.phase.process)) return;
    context.log.warn('a container ended without its monitor', { id });
    await setExited(
      context,
      record,
      { id, exitCode: 255, finishedAtMs: context.clock.now() },
      {
        reason: 'Unknown',
        message: 'its monitor (conmon) ended before it: the exit code is lost',
      },
    );
  });
}

async function setExited(
  context: RuntimeContext,
  record: ContainerRecord,
  exit: ContainerExit,
  lost?: { reason: string; message: string },
): Promise<void> {
  if (record.phase.name !== 'running') return;
  const oom =
    exit.exitCode !== 0 &&
    (context.cgroups.outOfMemoryKills(record.cgroupPath) > 0 ||
      (await unlessMissing(stat(join(context.paths.bundle(record.id), conmonFiles.oom)))) !== undefined);
  const exitCode = exit.exitCode < 0 ? 255 : exit.exitCode;
  await faultPoint('note-exit:read');
  const recorded = await recordExit(context, record, {
    name: 'exited',
    startedAtNs: record.phase.startedAtNs,
    finishedAtNs: String(toNanoseconds(exit.finishedAtMs)),
    exitCode,
    reason: oom ? 'OOMKilled' : exitCode === 0 ? 'Completed' : 'Error',
    message: '',
    ...lost,
  });
  await faultPoint('note-exit:recorded');
  for (const wake of context.exitWaiters.get(record.id) ?? []) wake();
  context.exitWaiters.delete(record.id);
  publishContainer(context, record, ContainerEventType.CONTAINER_STOPPED_EVENT);
  await clearTask(context, record).catch((error: unknown) =>
    context.log.warn('what was left of a container could not be removed', { id: record.id, error }),
  );
  await faultPoint('note-exit:cleared');
  if (recorded) await context.forgetExit(record.id);
}

/** Gives whether the end is on disk now. If not (it is full), memory knows it, and the exit file is kept to say it again. */
async function recordExit(context: RuntimeContext, record: ContainerRecord, phase: ContainerPhase): Promise<boolean> {
  const error = await context.store.containers.note(record.id, { phase });
  if (error) context.log.error('the end of a container cannot be written down', { id: record.id, error });
  return error === undefined;
}

async function takeIfLost(context: RuntimeContext, id: string): Promise<void> {
  const record = context.store.containers.find(id);
  if (record?.phase.name !== 'running' || isRunning(record.phase.process) || (await monitorOf(context, id))) return;
  await takeLostExit(context, id).catch((error: unknown) => context.log.error('lost exit not noted', { id, error }));
}

/** Resolves with true when the container has ended, or with false after the time. */
export async function waitForExit(
  context: RuntimeContext,
  record: ContainerRecord,
  timeoutMs: number,
): Promise<boolean> {
  if (record.phase.name !== 'running') return true;
  return new Promise((resolve) => {
    const waiters = context.exitWaiters.get(record.id) ?? new Set();
    context.exitWaiters.set(record.id, waiters);
    const timer = context.clock.after(timeoutMs, () => finish(false));
    const onExit = (): void => finish(true);
    // A monitor that was killed reports nothing.
    let looking: Timer | undefined;
    let lookMs = lossLook.firstMs;
    const lookForLoss = (): void => {
      if (!waiters.has(onExit)) return;
      looking = context.clock.after(lookMs, () => void takeIfLost(context, record.id).then(lookForLoss));
      lookMs = Math.min(lookMs * 2, lossLook.lastMs);
    };
    const finish = (ended: boolean): void => {
      timer.cancel();
      looking?.cancel();
      waiters.delete(onExit);
      resolve(ended);
    };
    waiters.add(onExit);
    lookForLoss();
  });
}
