import { Signal } from '../../api/cri/index.ts';
import type { Container, ContainerState, ContainerStatus, Pod } from '../../api/index.ts';
import { formatTime, isSidecar } from '../pods/names.ts';
import { asksForAll, shouldRestart } from '../pods/restart-policy.ts';
import { newestContainer, type RuntimeContainer } from '../pods/runtime-state.ts';
import { containerResourceStatus } from './resource-status.ts';
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
  const lastState = lastEnded ? { terminated: terminated(input, lastEnded) } : keptEnd(input, newest, before);
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
    ...(kind === 'ephemeral' ? {} : containerResourceStatus(container, newest, input.actuated)),
    ...mountsOf(container, newest),
    ...(newest.user ? { user: { linux: { ...newest.user } } } : {}),
    ...(newest.stopSignal ? { stopSignal: Signal[newest.stopSignal] } : {}),
  };
}

/** How the container before this one ended, when the runtime has it no more. */
function keptEnd(input: StatusInput, newest: RuntimeContainer, before: ContainerStatus | undefined): ContainerState {
  const isSame = before?.containerID === containerId(input, newest);
  const { terminated } = (!isSame && before?.state) || {};
  return terminated ? { terminated } : (before?.lastState ?? {});
}

function listName(kind: StatusKind) {
  if (kind === 'init') return 'initContainerStatuses';
  return kind === 'app' ? 'containerStatuses' : 'ephemeralContainerStatuses';
}

const unknownEnd = { exitCode: 137, reason: 'ContainerStatusUnknown' } as const;
const locatedNever = 'The container could not be located when the pod was';

const initLost =
  'Unable to get init container status from container runtime and pod has been initialized, treat it as exited normally';

/** What a container ended with that was taken away because all of its pod are started anew. */
const restartedEnd = {
  exitCode: 137,
  reason: 'RestartingAllContainers',
  message: 'The container is removed because RestartAllContainers in place',
} as const;

/** A container that the runtime does not have: not started yet, or lost. */
function withoutContainer(
  input: StatusInput,
  container: Container,
  kind: StatusKind,
  before: ContainerStatus | undefined,
  waiting: { reason: string; message: string } | undefined,
): ContainerStatus {
  const common = { name: container.name, image: container.image ?? '', ready: false, started: false };
  const isOnce = kind === 'ephemeral' || (kind === 'init' && !isSidecar(container));
  // What had ended before keeps its end; what ran and cannot be found must have ended somehow.
  const ended = before?.state?.terminated;
  const isOver = kind === 'app' && !shouldRestart(input.pod, container, ended?.exitCode ?? 0, false);
  if (ended && (input.ended || isOnce || isOver) && !input.restartingAll) return { ...before };
  const hadRun = before?.containerID !== undefined && before.state?.waiting === undefined;
  const goesOn = !input.ended && input.pod.metadata.deletionTimestamp === undefined;
  const rest = { imageID: '', restartCount: (before?.restartCount ?? 0) + (hadRun && goesOn ? 1 : 0) };
  if (input.restartingAll && hadRun && kind !== 'ephemeral') {
    const { reason, message } = restartedEnd;
    // Those that asked for it keep what they ended with.
    const end = ended && asksForAll(container, ended.exitCode) ? ended : { ...restartedEnd };
    const state = { waiting: waiting ?? { reason, message } };
    return { ...common, ...rest, state, lastState: { terminated: end }, ...mountsOf(container) };
  }
  // Init containers that were taken away after the apps had begun are known to have ended well.
  if (kind === 'init' && isOnce && input.appsCreated) {
    const state = { terminated: { exitCode: 0, reason: 'Completed', message: initLost } };
    return { ...common, ...rest, ready: true, state, lastState: before?.lastState ?? {}, ...mountsOf(container) };
  }
  const end = ended ?? { ...unknownEnd, message: `${locatedNever} deleted.  The container used to be Running` };
  return {
    ...common,
    ...rest,
    state: { waiting: waitingState(input, waiting) },
    lastState: hadRun ? { terminated: end } : (before?.lastState ?? {}),
    ...mountsOf(container),
  };
}

function waitingState(
  { pod }: StatusInput,
  waiting: { reason: string; message: string } | undefined,
): NonNullable<ContainerState['waiting']> {
  if (waiting) return { reason: waiting.reason, ...(waiting.message ? { message: waiting.message } : {}) };
  return { reason: pod.spec.initContainers?.length ? 'PodInitializing' : 'ContainerCreating' };
}

/**
 * After the end of a pod: whatever of it has not ended as far as is known has failed. Containers that never got their turn
 * (those of a pod whose init containers were not done) go on waiting.
 */
export function endedStatuses(pod: Pod, inits: ContainerStatus[], apps: ContainerStatus[]): void {
  const end = { ...unknownEnd, message: `${locatedNever} terminated` };
  const close = (status: ContainerStatus) => {
    if (!status.state?.terminated) status.state = { terminated: { ...end } };
  };
  if (isPodInitialized(pod, inits, apps)) apps.forEach(close);
  const lastBegun = inits.findLastIndex(
    ({ state, lastState }) => state?.waiting === undefined || lastState?.terminated !== undefined,
  );
  inits.slice(0, Math.max(1, lastBegun + 1)).forEach(close);
}

function isPodInitialized(pod: Pod, inits: ContainerStatus[], apps: ContainerStatus[]): boolean {
  const last = pod.spec.initContainers?.at(-1);
  if (!last) return true;
  if (apps.some(({ state, lastState }) => state?.waiting === undefined || lastState?.terminated)) return true;
  const status = inits.at(-1);
  if (isSidecar(last)) return status?.started === true;
  return status?.state?.terminated?.exitCode === 0 || status?.lastState?.terminated?.exitCode === 0;
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
      return { waiting: waitingState(input, waiting) };
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

/** The container's volumes; whether those below are read-only too is as the runtime made it. */
function mountsOf(container: Container, made?: RuntimeContainer): Pick<ContainerStatus, 'volumeMounts'> {
  if (!container.volumeMounts?.length) return {};
  const deep = new Set(made?.mounts.flatMap((one) => (one.recursiveReadOnly ? one.containerPath : [])));
  return {
    volumeMounts: container.volumeMounts.map(({ name, mountPath, readOnly, recursiveReadOnly }) => {
      const isDeep = made ? deep.has(mountPath) : recursiveReadOnly === 'Enabled';
      return { name, mountPath, ...(readOnly ? { readOnly, recursiveReadOnly: isDeep ? 'Enabled' : 'Disabled' } : {}) };
    }),
  };
}
