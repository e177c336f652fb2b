import { Signal } from '../../api/cri/index.ts';
import type { Container, ContainerState, ContainerStatus } from '../../api/index.ts';
import { formatTime, isSidecar } from '../pods/names.ts';
import { shouldRestart } from '../pods/restart-policy.ts';
import { newestContainer, type RuntimeContainer } from '../pods/runtime-state.ts';
import type { StatusInput } from './status-input.ts';

/** How a container belongs to its pod. */
export type StatusKind = 'init' | 'app' | 'ephemeral';

/** The status of one container, from what the runtime has and why it waits. */
export function containerStatus(input: StatusInput, container: Container, kind: StatusKind): ContainerStatus {
  const newest = newestContainer(input.runtime, container.name);
  const before = input.previous?.[listName(kind)]?.find(({ name }) => name === container.name);
  const waiting = input.waiting.get(container.name);
  if (!newest) return withoutContainer(input, container, kind, before, waiting);
  const older = input.runtime.containers.find(
    (one) => one.name === container.name && one !== newest && one.state === 'exited',
  );
  const state = stateOf(input, newest, waiting);
  const restartsSoon =
    waiting !== undefined && newest.state === 'exited' && willRestart(input, container, kind, newest);
  const lastEnded = restartsSoon ? newest : older;
  const lastState: ContainerState = lastEnded
    ? { terminated: terminated(input, lastEnded) }
    : before?.lastState?.terminated && before.containerID !== containerId(input, newest)
      ? before.lastState
      : {};
  const running = newest.state === 'running';
  const started =
    running &&
    input.probes.startup(newest) !== 'pending' &&
    input.probes.startup(newest) !== 'failure' &&
    !input.inPostStart.has(newest.id);
  return {
    name: container.name,
    state: restartsSoon ? { waiting } : state,
    lastState,
    ready: isReady(input, container, kind, newest, started),
    started: running ? started : kind === 'ephemeral' ? undefined : false,
    restartCount: Math.max(newest.restartCount, before?.restartCount ?? 0),
    image: newest.image || container.image || '',
    imageID: newest.imageRef,
    containerID: containerId(input, newest),
    ...resourcesOf(container, running),
    ...mountsOf(container),
    ...(newest.user ? { user: { linux: { ...newest.user } } } : {}),
    ...(newest.stopSignal ? { stopSignal: Signal[newest.stopSignal] } : {}),
  };
}

function listName(kind: StatusKind) {
  if (kind === 'init') return 'initContainerStatuses';
  return kind === 'app' ? 'containerStatuses' : 'ephemeralContainerStatuses';
}

/** A container that the runtime does not have: not started yet, or lost. */
function withoutContainer(
  input: StatusInput,
  container: Container,
  kind: StatusKind,
  before: ContainerStatus | undefined,
  waiting: { reason: string; message: string } | undefined,
): ContainerStatus {
  const common = { name: container.name, image: container.image ?? '', ready: false, started: false };
  // What had ended before keeps its end; what ran and cannot be found must have ended somehow.
  if (before?.state?.terminated && (input.ended || kind === 'init')) return { ...before };
  const lost = before?.containerID && before.state?.running;
  const unknown = {
    exitCode: 137,
    reason: 'ContainerStatusUnknown',
    message: input.ended
      ? 'The container could not be located when the pod was terminated'
      : 'The container could not be located when the pod was deleted.  The container used to be Running',
  };
  const reason = waiting?.reason ?? (input.waitsForInit && kind === 'app' ? 'PodInitializing' : 'ContainerCreating');
  const idle: ContainerState = { waiting: { reason, ...(waiting?.message ? { message: waiting.message } : {}) } };
  return {
    ...common,
    imageID: '',
    restartCount: before?.restartCount ?? 0,
    state: lost && input.ended ? { terminated: unknown } : idle,
    lastState: lost && !input.ended ? { terminated: unknown } : (before?.lastState ?? {}),
    ...mountsOf(container),
  };
}

function stateOf(
  input: StatusInput,
  container: RuntimeContainer,
  waiting: { reason: string; message: string } | undefined,
): ContainerState {
  switch (container.state) {
    case 'running':
      return { running: { startedAt: formatTime(container.startedAt) } };
    case 'exited':
      return { terminated: terminated(input, container) };
    case 'unknown':
      return { terminated: { ...terminated(input, container), exitCode: 137, reason: 'ContainerStatusUnknown' } };
    default:
      return { waiting: waiting ?? { reason: 'ContainerCreating' } };
  }
}

function terminated(input: StatusInput, container: RuntimeContainer): NonNullable<ContainerState['terminated']> {
  return {
    exitCode: container.exitCode,
    reason: container.reason || (container.exitCode === 0 ? 'Completed' : 'Error'),
    ...(container.message ? { message: container.message } : {}),
    // A container that never started has the start of the epoch, as the API's users know it.
    startedAt: formatTime(container.startedAt),
    finishedAt: formatTime(container.finishedAt),
    containerID: containerId(input, container),
  };
}

function containerId(input: StatusInput, container: RuntimeContainer): string {
  return `${input.runtimeName}://${container.id}`;
}

function willRestart(input: StatusInput, container: Container, kind: StatusKind, newest: RuntimeContainer): boolean {
  if (input.ended || kind === 'ephemeral') return false;
  return shouldRestart(input.pod, container, newest.exitCode, kind === 'init');
}

function isReady(
  input: StatusInput,
  container: Container,
  kind: StatusKind,
  newest: RuntimeContainer,
  started: boolean,
): boolean {
  if (kind === 'ephemeral') return false;
  if (kind === 'init' && !isSidecar(container)) return newest.state === 'exited' && newest.exitCode === 0;
  const readiness = input.probes.readiness(newest);
  return newest.state === 'running' && started && (readiness === 'none' || readiness === 'success');
}

/** The resources that a running container was given. */
function resourcesOf(container: Container, running: boolean) {
  const { requests, limits } = container.resources ?? {};
  if (!running) return {};
  return {
    resources: { ...(limits ? { limits } : {}), ...(requests ? { requests } : {}) },
    ...(requests ? { allocatedResources: requests } : {}),
  };
}

function mountsOf(container: Container): Pick<ContainerStatus, 'volumeMounts'> {
  if (!container.volumeMounts?.length) return {};
  return {
    volumeMounts: container.volumeMounts.map(({ name, mountPath, readOnly, recursiveReadOnly }) => ({
      name,
      mountPath,
      ...(readOnly ? { readOnly, recursiveReadOnly: recursiveReadOnly === 'Enabled' ? 'Enabled' : 'Disabled' } : {}),
    })),
  };
}
