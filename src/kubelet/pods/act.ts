import { rm } from 'node:fs/promises';
import type { Container } from '../../api/index.ts';
import { describeError, PodError } from '../errors.ts';
import { crashDelay } from './crash-backoff.ts';
import { killContainer, stopSandbox } from './kill.ts';
import { noteFailure, noteSuccess, type PodKit } from './kit.ts';
import { removeLogs } from './log-rotation.ts';
import { containerHash } from './names.ts';
import type { PodRecord } from './pod-record.ts';
import { prepareBase, preparePod, volumesAreSafe } from './prepare.ts';
import { resizePod } from './resize-pod.ts';
import { isNotFound } from './runtime-client.ts';
import { runtimeHandlerOf } from './runtime-handler.ts';
import { newestContainer, type RuntimeContainer } from './runtime-state.ts';
import { makeSandboxConfig } from './sandbox-config.ts';
import { logLink, lookForImage, startContainer } from './start-container.ts';
import type { Step } from './steps.ts';

type Executor<K extends Step['kind']> = (
  kit: PodKit,
  record: PodRecord,
  step: Extract<Step, { kind: K }>,
) => Promise<void>;

/** Reasons of a pull that failed just now. */
const pullFailures: readonly string[] = ['ErrImagePull', 'RegistryUnavailable', 'SignatureValidationFailed'];

/** How each step is carried out. */
const executors = {
  'stop-sandbox': stopOldSandbox,
  'create-sandbox': createSandbox,
  'kill-container': (kit, record, step) =>
    killContainer(kit, record, step.container, {
      event: step.event,
      ...(step.graceSeconds !== undefined ? { graceSeconds: step.graceSeconds } : {}),
      signal: record.abort.signal,
    }),
  'restart-all': restartAll,
  'resize-pod': resizePod,
  'remove-container': (kit, record, step) => removeContainer(kit, record, step.container),
  'start-container': startNoted,
} satisfies { [K in Step['kind']]: Executor<K> };

/** Carries out one step. @throws whatever stops the pod from going on now; what concerns one container is noted instead */
export async function act(kit: PodKit, record: PodRecord, step: Step): Promise<void> {
  const executor = executors[step.kind] as Executor<typeof step.kind>;
  await executor(kit, record, step as never);
}

async function stopOldSandbox(
  kit: PodKit,
  record: PodRecord,
  { sandbox, changed }: Extract<Step, { kind: 'stop-sandbox' }>,
): Promise<void> {
  if (changed && !record.toldSandboxes.has(sandbox.id)) {
    record.toldSandboxes.add(sandbox.id);
    kit.events.normal(record.pod, 'SandboxChanged', 'Pod sandbox changed, it will be killed and re-created.');
  }
  const runtime = kit.cache.pod(record.pod.metadata.uid!);
  const inside = runtime.containers.filter((one) => one.sandboxId === sandbox.id && one.state === 'running');
  await Promise.all(
    inside.map((one) =>
      killContainer(kit, record, one, { event: `Stopping container ${one.name}`, signal: record.abort.signal }),
    ),
  );
  await stopSandbox(kit, sandbox.id);
}

async function createSandbox(
  kit: PodKit,
  record: PodRecord,
  { attempt }: Extract<Step, { kind: 'create-sandbox' }>,
): Promise<void> {
  const { pod } = record;
  const volumes = preparePod(kit, record);
  volumes.catch(() => {});
  if (!volumesAreSafe(pod)) await volumes;
  const base = record.prepared ?? (await prepareBase(kit, record));
  for (const container of firstContainers(record)) {
    const image = lookForImage(kit, record, container);
    image.catch(() => {});
    record.images.set(container.name, image);
  }
  try {
    const networkProblem = pod.spec!.hostNetwork ? undefined : kit.node.networkProblem();
    if (networkProblem) throw new PodError('NetworkNotReady', networkProblem);
    const runtimeHandler = await runtimeHandlerOf(kit, pod);
    record.sandboxConfig = await makeSandboxConfig(kit, pod, attempt, base, runtimeHandler);
    const { podSandboxId } = await kit.timelines.measure(pod, 'sandbox', () =>
      kit.client.runtime.runPodSandbox(
        { config: record.sandboxConfig!, runtimeHandler },
        { timeoutMs: kit.settings.runtimeRequestTimeoutMs * 2, signal: record.abort.signal },
      ),
    );
    await kit.cache.refreshSandbox(podSandboxId);
    noteSuccess(kit, record, 'sandbox');
  } catch (error) {
    if (record.abort.signal.aborted) record.unsure = true;
    record.abort.signal.throwIfAborted();
    tellSandboxFailure(kit, record, error);
    // The runtime may have made it and failed to say so: what it has decides how to go on.
    if (!(error instanceof PodError)) await kit.cache.relist(pod.metadata.uid).catch(() => {});
    throw error;
  }
  await volumes;
}

function tellSandboxFailure(kit: PodKit, record: PodRecord, error: unknown): void {
  if (record.abort.signal.aborted) return;
  const network = error instanceof PodError && error.reason === 'NetworkNotReady';
  noteFailure(kit, record, 'sandbox', network ? 1000 : undefined);
  const text = describeError(error);
  if (network) kit.events.warning(record.pod, 'NetworkNotReady', `network is not ready: ${text}`);
  else {
    const what =
      error instanceof PodError && error.reason === 'CreatePodSandboxConfigError'
        ? 'Failed to create pod sandbox config'
        : 'Failed to create pod sandbox';
    kit.events.warning(record.pod, 'FailedCreatePodSandBox', `${what}: ${text}`);
  }
}

/** The containers that start first: their images are looked for early. */
function firstContainers({ pod }: PodRecord): Container[] {
  const { initContainers = [], containers } = pod.spec!;
  return initContainers.length > 0 ? initContainers.slice(0, 1) : containers;
}

/** Starts a container; a failure is noted for its status and its next try. */
async function startNoted(
  kit: PodKit,
  record: PodRecord,
  step: Extract<Step, { kind: 'start-container' }>,
): Promise<void> {
  const { name } = step.container;
  try {
    await startContainer(kit, record, step);
    record.waiting.delete(name);
    noteSuccess(kit, record, name);
  } catch (error) {
    record.abort.signal.throwIfAborted();
    const failure = error instanceof PodError ? error : new PodError('CreateContainerError', describeError(error));
    // The volumes' failure is the pod's, not this container's.
    if (failure.reason === 'MountError') throw failure;
    record.waiting.set(name, { reason: failure.reason, message: failure.message });
    const pullMs = kit.images.retryInMs(record.pod, step.container);
    const untilBackoffMs = 1000;
    if (pullFailures.includes(failure.reason)) noteFailure(kit, record, name, Math.min(untilBackoffMs, pullMs));
    else if (failure.reason === 'ImagePullBackOff') noteFailure(kit, record, name, pullMs);
    else if (hasEnded(kit, record, name)) noteSuccess(kit, record, name);
    else noteFailure(kit, record, name);
    if (/^(ErrImage|Image|InvalidImage)/.test(failure.reason) || pullFailures.includes(failure.reason)) {
      kit.events.warning(record.pod, 'Failed', `Error: ${failure.reason}`, name);
    }
    kit.publish(record);
  }
}

/** Whether the container came to exist and is dead: then its crash back-off decides when it is started again. */
function hasEnded(kit: PodKit, record: PodRecord, name: string): boolean {
  return newestContainer(kit.cache.pod(record.pod.metadata.uid!), name)?.state === 'exited';
}

/** Kills and removes every container; the next plan starts them all. Their logs stay until the pod goes. */
async function restartAll(
  kit: PodKit,
  record: PodRecord,
  { others, causes }: Extract<Step, { kind: 'restart-all' }>,
): Promise<void> {
  const { pod } = record;
  kit.publish(record);
  const maximumMs = kit.settings.crashLoopMaximumMs;
  const spec = [...(pod.spec.initContainers ?? []), ...pod.spec.containers];
  for (const cause of causes) {
    const hash = containerHash(spec.find(({ name }) => name === cause.name)!);
    record.crashDelays.set(cause.name, crashDelay(cause, hash, maximumMs));
  }
  const alive = others.filter(({ state }) => state === 'running' || state === 'unknown');
  const options = { event: 'killing', graceSeconds: 0, signal: record.abort.signal };
  await Promise.all(alive.map((one) => killContainer(kit, record, one, options)));
  for (const container of [...others, ...causes]) {
    record.abort.signal.throwIfAborted();
    await removeContainer(kit, record, container, { keepLog: true });
  }
}

/** Takes a container that does not run out of the runtime, with its log (unless that is kept) and the link to it. */
export async function removeContainer(
  kit: PodKit,
  record: PodRecord,
  container: RuntimeContainer,
  { keepLog = false } = {},
): Promise<void> {
  try {
    await kit.client.runtime.removeContainer(
      { containerId: container.id },
      { timeoutMs: kit.settings.runtimeRequestTimeoutMs },
    );
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  record.stopping.delete(container.id);
  kit.cache.forgetContainer(container.id);
  record.hooksDone.delete(container.id);
  await rm(logLink(kit, record.pod.metadata, container.name, container.id), { force: true });
  if (container.logPath && !keepLog) await removeLogs(container.logPath);
}
