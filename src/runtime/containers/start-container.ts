import { ContainerEventType } from '../../api/cri/index.ts';
import { faultPoint } from '../../async/index.ts';
import { identifyProcess, isRunning } from '../../host/exec/index.ts';
import { stage } from '../calls/index.ts';
import { ociRuntimeOf, type RuntimeContext } from '../context.ts';
import { messageOf, notFound, notInState, RuntimeError } from '../errors.ts';
import { toNanoseconds } from '../identifiers.ts';
import type { ContainerRecord } from '../store/container-record.ts';
import { createWithConmon } from './conmon.ts';
import { noteExit } from './exited.ts';
import { prepareLog } from './log-file.ts';
import { unmountMappedVolumes } from './mapped-volumes.ts';
import { endMonitor } from './monitor.ts';
import { publishContainer } from './publish.ts';
import { clearTask } from './task-cleanup.ts';

/** Runs a prepared container. One that cannot be started ends as exited with code 128 and reason StartError. */
export function startContainer(context: RuntimeContext, id: string): Promise<void> {
  return context.serial.run(id, async () => {
    const record = context.store.containers.get(id);
    if (record.phase.name !== 'created')
      throw notInState(`container "${id}" is in the state ${record.phase.name}, not created`);
    const sandbox = context.store.sandboxes.get(record.sandboxId);
    if (sandbox.phase !== 'ready') throw notInState(`sandbox container "${sandbox.id}" is not running`);
    context.cgroups.expectAttach();
    await context.store.containers.update(id, { phase: { name: 'starting' } });
    try {
      await faultPoint('start-container:begin');
      await run(context, record);
    } catch (cause) {
      await startFailed(context, record, cause);
      throw new RuntimeError('UNKNOWN', `failed to start container "${id}": ${messageOf(cause)}`, { cause });
    }
  });
}

async function run(context: RuntimeContext, record: ContainerRecord): Promise<void> {
  const runtime = ociRuntimeOf(context, record.runtimeHandler);
  if (!runtime) throw notFound('runtime handler', record.runtimeHandler);
  const logPath = await prepareLog(context.paths.bundle(record.id), record.logPath);
  const { config } = record;
  const conmon = {
    conmonPath: context.settings.conmonPath,
    ociRuntimePath: runtime.path,
    ociRoot: context.paths.ociRoot,
    id: record.id,
    name: config.metadata?.name ?? record.id,
    bundle: context.paths.bundle(record.id),
    exits: context.paths.exits,
    logPath,
    terminal: config.tty,
    stdin: config.stdin,
    stdinOnce: config.stdinOnce,
    clock: context.clock,
    timeoutMs: context.settings.ociTimeoutMs,
  };
  const pid = await stage('create the task', () => createWithConmon(conmon));
  await faultPoint('start-container:created');
  // The container has what they show by now; here they would only stand in the way of others.
  if (config.mounts.some(({ uidMappings }) => uidMappings.length > 0)) await unmountMappedVolumes(context, record.id);
  const process = identifyProcess(pid);
  if (!process) throw new RuntimeError('UNKNOWN', `the container's process ${pid} ended before it was started`);
  await stage('start the task', () => runtime.start(record.id, process));
  await faultPoint('start-container:started');
  const startedAtNs = String(toNanoseconds(context.clock.now()));
  await context.store.containers.update(record.id, { phase: { name: 'running', process, startedAtNs } });
  await faultPoint('start-container:running');
  publishContainer(context, record, ContainerEventType.CONTAINER_STARTED_EVENT);
  // A short life may be over by now, and its exit file told while we could not take it yet.
  if (!isRunning(process)) queueMicrotask(() => void noteExit(context, record.id));
}

async function startFailed(context: RuntimeContext, record: ContainerRecord, cause: unknown): Promise<void> {
  const cleanUp = async (): Promise<void> => {
    await endMonitor(context, record);
    await clearTask(context, record);
  };
  await cleanUp().catch((error: unknown) =>
    context.log.warn('what was left of a failed start could not be removed', { id: record.id, error }),
  );
  await context.forgetExit(record.id);
  const now = String(toNanoseconds(context.clock.now()));
  const error = await context.store.containers.note(record.id, {
    phase: {
      name: 'exited',
      startedAtNs: '0',
      finishedAtNs: now,
      exitCode: 128,
      reason: 'StartError',
      message: messageOf(cause),
    },
  });
  if (error) context.log.error('a failed start cannot be written down', { id: record.id, error });
  publishContainer(context, record, ContainerEventType.CONTAINER_STOPPED_EVENT);
}
