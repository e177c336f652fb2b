import { mkdir, readdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Container } from '../../api/index.ts';
import { describeError, PodError } from '../errors.ts';
import { makeContainerConfig } from './container-config.ts';
import { crashDelay, nextCrashDelay } from './crash-backoff.ts';
import { runHook } from './hooks.ts';
import { hookContext, killContainer } from './kill.ts';
import type { PodKit } from './kit.ts';
import { containerHash } from './names.ts';
import type { PodRecord, PreparedPod } from './pod-record.ts';
import { preparePod } from './prepare.ts';
import { runtimeHandlerOf } from './runtime-handler.ts';
import { makeSandboxConfig } from './sandbox-config.ts';
import type { Step } from './steps.ts';

type StartStep = Extract<Step, { kind: 'start-container' }>;

/** Image, create, start, postStart hook. @throws PodError with the waiting reason, after its event */
export async function startContainer(kit: PodKit, record: PodRecord, step: StartStep): Promise<void> {
  const { pod } = record;
  const { name } = step.container;
  const container = step.container as Container;
  const image = await kit.timelines.measure(pod, 'image', () => takeImage(kit, record, container), name);
  const prepared = await preparePod(kit, record);
  const restartCount = await countRestarts(record, step, prepared);
  const id = await kit.timelines.measure(
    pod,
    'create container',
    () => create(kit, record, { ...step, restartCount }, prepared, image),
    name,
  );
  kit.resizes.made(pod, container);
  kit.events.normal(pod, 'Created', `Created container: ${name}`, name);
  try {
    await kit.timelines.measure(
      pod,
      'start container',
      () =>
        kit.client.runtime.startContainer(
          { containerId: id },
          { timeoutMs: kit.settings.runtimeRequestTimeoutMs, signal: record.abort.signal },
        ),
      name,
    );
  } catch (error) {
    noteBrokenOff(record);
    await kit.cache.refreshContainer(id, step.sandbox.id).catch(() => {});
    const message = describeError(error);
    kit.events.warning(pod, 'Failed', `Error: ${message}`, name);
    throw new PodError('RunContainerError', message, { cause: error });
  }
  kit.events.normal(pod, 'Started', `Started container ${name}`, name);
  const hook = container.lifecycle?.postStart;
  if (hook) record.inPostStart.add(id);
  await kit.cache.refreshContainer(id, step.sandbox.id);
  kit.containerStarted(id, step.sandbox.id);
  void linkLog(kit, record, prepared, name, id, restartCount);
  if (hook) await postStart(kit, record, container, id);
}

/**
 * How often a container of the name was started before. Where the runtime does not tell (what it had is gone), the status
 * and the logs do: a count never goes back, and no log is written twice.
 */
async function countRestarts(record: PodRecord, step: StartStep, prepared: PreparedPod): Promise<number> {
  if (step.before) return step.restartCount;
  const { name } = step.container;
  const { initContainerStatuses = [], containerStatuses = [], ephemeralContainerStatuses = [] } = record.status ?? {};
  const known = [...initContainerStatuses, ...containerStatuses, ...ephemeralContainerStatuses].find(
    (one) => one.name === name,
  );
  const logs = await readdir(join(prepared.logDirectory, name)).catch(() => []);
  const numbers = logs.flatMap((file) => /^(\d+)\.log/.exec(file)?.[1] ?? []).map(Number);
  // A status that names a container is that of the one before; otherwise it counts the one to come already.
  const counted = (known?.restartCount ?? 0) + (known?.containerID === undefined ? 0 : 1);
  return Math.max(step.restartCount, counted, ...numbers.map((number) => number + 1));
}

/** Throws when the work on the pod is to end; what was under way may have succeeded nevertheless. */
function noteBrokenOff(record: PodRecord): void {
  const { signal } = record.abort;
  if (signal.aborted) record.unsure = true;
  signal.throwIfAborted();
}

/** What the end of the container that is to be started will cost, milliseconds. */
function nextDelay(kit: PodKit, record: PodRecord, { container, before }: StartStep): number {
  const maximumMs = kit.settings.crashLoopMaximumMs;
  const kept = record.crashDelays.get(container.name);
  const own = before ? crashDelay(before, containerHash(container), maximumMs) : kept;
  return nextCrashDelay(own, maximumMs);
}

/** The image that was looked for while the sandbox was made, or a new look. */
function takeImage(kit: PodKit, record: PodRecord, container: Container) {
  const early = record.images.get(container.name);
  record.images.delete(container.name);
  return early ?? lookForImage(kit, record, container);
}

/** Looks for a container's image (and pulls it). */
export function lookForImage(kit: PodKit, record: PodRecord, container: Container) {
  return kit.images.ensure(record.pod, container, {
    signal: record.abort.signal,
    ...(record.sandboxConfig ? { sandboxConfig: record.sandboxConfig } : {}),
  });
}

async function create(
  kit: PodKit,
  record: PodRecord,
  step: StartStep,
  prepared: PreparedPod,
  image: Awaited<ReturnType<typeof takeImage>>,
): Promise<string> {
  const { container, sandbox, restartCount } = step;
  try {
    const runtimeHandler = await runtimeHandlerOf(kit, record.pod);
    record.sandboxConfig ??= await makeSandboxConfig(kit, record.pod, sandbox.attempt, prepared, runtimeHandler);
    await mkdir(join(prepared.logDirectory, container.name), { recursive: true, mode: 0o755 });
    const crashDelayMs = nextDelay(kit, record, step);
    const parts = { record, container, sandbox, prepared, image, restartCount, crashDelayMs };
    const config = await makeContainerConfig(kit, parts);
    const { containerId } = await kit.client.runtime.createContainer(
      { podSandboxId: sandbox.id, config, sandboxConfig: record.sandboxConfig },
      { timeoutMs: kit.settings.runtimeRequestTimeoutMs, signal: record.abort.signal },
    );
    record.crashDelays.delete(container.name);
    return containerId;
  } catch (error) {
    noteBrokenOff(record);
    // The runtime may have made it and failed to say so: what it has decides how to go on.
    if (!(error instanceof PodError)) await kit.cache.relist(record.pod.metadata.uid).catch(() => {});
    const failure =
      error instanceof PodError ? error : new PodError('CreateContainerError', describeError(error), { cause: error });
    kit.events.warning(record.pod, 'Failed', `Error: ${failure.message}`, container.name);
    throw failure;
  }
}

async function postStart(kit: PodKit, record: PodRecord, container: Container, id: string): Promise<void> {
  const { pod } = record;
  const running = kit.cache.container(id);
  const ended = new AbortController();
  const forgetEnd = kit.cache.onEnd(id, () => ended.abort(new Error('the container has ended')));
  const signal = AbortSignal.any([record.abort.signal, ended.signal]);
  try {
    const context = { ...hookContext(kit, record), signal };
    await runHook(context, pod, container, id, container.lifecycle!.postStart!);
  } catch (error) {
    record.abort.signal.throwIfAborted();
    // What a hook says may hold secrets: events do not repeat it.
    kit.events.warning(pod, 'FailedPostStartHook', 'PostStartHook failed', container.name);
    if (running && !ended.signal.aborted) {
      const event = 'FailedPostStartHook';
      await killContainer(kit, record, running, { event, signal: record.abort.signal });
    }
    throw new PodError('PostStartHookError', `PostStartHook failed: ${describeError(error)}`, { cause: error });
  } finally {
    forgetEnd();
    record.inPostStart.delete(id);
  }
}

/** A link by which log agents find the container's log: `<pod>_<namespace>_<container>-<id>.log`. */
async function linkLog(
  kit: PodKit,
  record: PodRecord,
  prepared: PreparedPod,
  name: string,
  id: string,
  attempt: number,
): Promise<void> {
  const link = logLink(kit, record.pod.metadata, name, id);
  try {
    await rm(link, { force: true });
    await symlink(join(prepared.logDirectory, name, `${attempt}.log`), link);
  } catch (error) {
    kit.log.warn('cannot link a container log', { link, error });
  }
}

/** Where the link to a container's log is. */
export function logLink(
  kit: PodKit,
  pod: { name?: string; namespace?: string },
  container: string,
  id: string,
): string {
  const base = `${pod.name}_${pod.namespace}_${container}`.slice(0, 251 - id.length - 5);
  return join(kit.settings.containerLogsDirectory, `${base}-${id}.log`);
}
