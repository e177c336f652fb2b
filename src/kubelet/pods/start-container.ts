import { mkdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Container } from '../../api/index.ts';
import { describeError, PodError } from '../errors.ts';
import { makeContainerConfig } from './container-config.ts';
import { runHook } from './hooks.ts';
import { killContainer } from './kill.ts';
import { crashKey, type PodKit } from './kit.ts';
import type { PodRecord, PreparedPod } from './pod-record.ts';
import { preparePod } from './prepare.ts';
import { makeSandboxConfig } from './sandbox-config.ts';
import type { Step } from './steps.ts';

type StartStep = Extract<Step, { kind: 'start-container' }>;

/** Longest a postStart hook may take, milliseconds. */
const postStartTimeoutMs = 120_000;

/** Image, create, start, postStart hook. @throws PodError with the waiting reason, after its event */
export async function startContainer(kit: PodKit, record: PodRecord, step: StartStep): Promise<void> {
  const { pod } = record;
  const { name } = step.container;
  const container = step.container as Container;
  const image = await kit.timelines.measure(pod, 'image', () => takeImage(kit, record, container), name);
  const prepared = await preparePod(kit, record);
  if (step.before) kit.crashBackoff.next(crashKey(pod, container));
  const id = await kit.timelines.measure(
    pod,
    'create container',
    () => create(kit, record, step, prepared, image),
    name,
  );
  kit.events.normal(pod, 'Created', `Created container: ${name}`, name);
  try {
    await kit.timelines.measure(
      pod,
      'start container',
      () => kit.client.runtime.startContainer({ containerId: id }, { timeoutMs: kit.settings.runtimeRequestTimeoutMs }),
      name,
    );
  } catch (error) {
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
  void linkLog(kit, record, prepared, name, id, step.restartCount);
  if (hook) await postStart(kit, record, container, id);
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
    record.sandboxConfig ??= await makeSandboxConfig(kit, record.pod, sandbox.attempt, prepared);
    await mkdir(join(prepared.logDirectory, container.name), { recursive: true, mode: 0o755 });
    const config = await makeContainerConfig(kit, { record, container, sandbox, prepared, image, restartCount });
    const { containerId } = await kit.client.runtime.createContainer(
      { podSandboxId: sandbox.id, config, sandboxConfig: record.sandboxConfig },
      { timeoutMs: kit.settings.runtimeRequestTimeoutMs },
    );
    return containerId;
  } catch (error) {
    const failure =
      error instanceof PodError ? error : new PodError('CreateContainerError', describeError(error), { cause: error });
    kit.events.warning(record.pod, 'Failed', `Error: ${failure.message}`, container.name);
    throw failure;
  }
}

async function postStart(kit: PodKit, record: PodRecord, container: Container, id: string): Promise<void> {
  const { pod } = record;
  const running = kit.cache.container(id);
  const podIp = kit.cache.pod(pod.metadata.uid!).sandboxes[0]?.ips[0] ?? kit.node.hostIps()[0] ?? '';
  const context = { client: kit.client, clock: kit.clock, podIp, signal: record.abort.signal };
  try {
    await runHook(context, pod, container, id, container.lifecycle!.postStart!, postStartTimeoutMs);
  } catch (error) {
    record.abort.signal.throwIfAborted();
    const text = describeError(error);
    kit.events.warning(pod, 'FailedPostStartHook', `PostStartHook failed: ${text}`, container.name);
    if (running) {
      const event = `FailedPostStartHook: container ${container.name} is stopped`;
      await killContainer(kit, record, running, { event });
    }
    throw new PodError('PostStartHookError', `PostStartHook failed: ${text}`, { cause: error });
  } finally {
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
