import type { PodCondition, PodStatus } from '../../api/index.ts';
import { formatTime, isSidecar } from '../pods/names.ts';
import { mayRestartAll } from '../pods/restart-policy.ts';
import { readySandbox } from '../pods/runtime-state.ts';
import type { ResizeCondition } from '../resources/resizes.ts';
import type { StatusInput } from './status-input.ts';

/** The conditions that the kubelet sets; others (readiness gates, DisruptionTarget) belong to whoever set them. */
export const ownConditions = [
  'PodReadyToStartContainers',
  'Initialized',
  'Ready',
  'ContainersReady',
  'PodScheduled',
  'DisruptionTarget',
  'AllContainersRestarting',
  'PodResizePending',
  'PodResizeInProgress',
] as const;

/** Those of them that are taken away when they are over. */
export const passingConditions: readonly string[] = ['PodResizePending', 'PodResizeInProgress'];

type Draft = Omit<PodCondition, 'lastTransitionTime' | 'lastProbeTime' | 'observedGeneration'>;

/** The conditions of a pod whose container statuses and phase are computed. A time moves only when a status turns. */
export function podConditions(input: StatusInput, status: PodStatus): PodCondition[] {
  const containersReady = readiness(input, status);
  const drafts: Draft[] = [
    sandboxCondition(input),
    initialized(input, status),
    gated(input, { ...containersReady, type: 'Ready' }),
    { ...containersReady, type: 'ContainersReady' },
    { type: 'PodScheduled', status: 'True' },
    ...restartingAll(input, status),
    ...disrupted(input),
  ];
  const before = new Map((input.previous?.conditions ?? []).map((one) => [one.type, one]));
  const own = drafts.map((draft) => {
    const known = before.get(draft.type);
    const same = known?.status === draft.status && known.lastTransitionTime !== undefined;
    return {
      ...draft,
      ...(input.pod.metadata.generation !== undefined ? { observedGeneration: input.pod.metadata.generation } : {}),
      lastTransitionTime: same ? known.lastTransitionTime : formatTime(input.now),
    };
  });
  const foreign = foreignConditions(input).filter(({ type }) => !drafts.some((one) => one.type === type));
  return [...own, ...resizeConditions(input, status), ...foreign];
}

/** How a resize stands, unless the pod has ended. */
function resizeConditions({ resize }: StatusInput, { phase }: PodStatus): PodCondition[] {
  if (phase === 'Succeeded' || phase === 'Failed') return [];
  const make = (type: string, condition: ResizeCondition | undefined): PodCondition[] =>
    condition
      ? [
          {
            type,
            status: 'True',
            ...(condition.reason ? { reason: condition.reason } : {}),
            ...(condition.message ? { message: condition.message } : {}),
            ...(condition.generation === undefined ? {} : { observedGeneration: condition.generation }),
            lastTransitionTime: formatTime(condition.since),
          },
        ]
      : [];
  return [...make('PodResizePending', resize?.pending), ...make('PodResizeInProgress', resize?.inProgress)];
}

/** What others say of the pod, as the API has it now; and what we said once and for all. */
function foreignConditions({ pod, previous }: StatusInput): PodCondition[] {
  const own: readonly string[] = ownConditions;
  const others = (pod.status?.conditions ?? []).filter(({ type }) => !own.includes(type));
  return [
    ...others,
    ...(previous?.conditions ?? []).filter(({ type }) => own.includes(type) && !passingConditions.includes(type)),
  ];
}

/** A pod that the node ends although nothing is wrong with it. */
function disrupted({ failure }: StatusInput): Draft[] {
  if (failure?.disruption === undefined) return [];
  return [{ type: 'DisruptionTarget', status: 'True', reason: 'TerminationByKubelet', message: failure.disruption }];
}

/** Only of pods that may come to it. */
function restartingAll(input: StatusInput, { phase }: PodStatus): Draft[] {
  if (!mayRestartAll(input.pod)) return [];
  const type = 'AllContainersRestarting';
  if (phase === 'Succeeded') return [{ type, status: 'False', reason: 'PodCompleted' }];
  if (phase === 'Failed') return [{ type, status: 'False', reason: 'PodFailed' }];
  // It is over as soon as nothing of the old is left.
  if (!input.hasRestartCauses) return [{ type, status: 'False' }];
  const message = 'container exited with restart policy rule';
  return [{ type, status: 'True', reason: 'RestartAllContainersStarted', message }];
}

function sandboxCondition({ pod, runtime }: StatusInput): Draft {
  const sandbox = readySandbox(runtime);
  const ready = sandbox !== undefined && (pod.spec!.hostNetwork || sandbox.ips.length > 0);
  return { type: 'PodReadyToStartContainers', status: ready ? 'True' : 'False' };
}

function initialized(input: StatusInput, status: PodStatus): Draft {
  const type = 'Initialized';
  if (status.phase === 'Succeeded') return { type, status: 'True', reason: 'PodCompleted' };
  const inits = input.pod.spec!.initContainers ?? [];
  const incomplete: string[] = [];
  for (const [index, container] of inits.entries()) {
    const one = status.initContainerStatuses?.[index];
    const done = isSidecar(container) ? one?.started === true : one?.state?.terminated?.exitCode === 0;
    if (!done) incomplete.push(container.name);
  }
  const started = status.containerStatuses?.some(({ state }) => state?.running);
  // Once initialised stays initialised, also while init containers run again.
  const was = input.previous?.conditions?.some((one) => one.type === type && one.status === 'True');
  if (incomplete.length === 0 || started || was) return { type, status: 'True' };
  const message = `containers with incomplete status: [${incomplete.join(' ')}]`;
  return { type, status: 'False', reason: 'ContainersNotInitialized', message };
}

function readiness(input: StatusInput, status: PodStatus): Draft {
  const type = 'ContainersReady';
  if (status.phase === 'Succeeded') return { type, status: 'False', reason: 'PodCompleted' };
  if (status.phase === 'Failed') return { type, status: 'False', reason: 'PodFailed' };
  const sidecars = new Set((input.pod.spec!.initContainers ?? []).filter(isSidecar).map(({ name }) => name));
  const counted = [
    ...(status.initContainerStatuses ?? []).filter(({ name }) => sidecars.has(name)),
    ...(status.containerStatuses ?? []),
  ];
  const unready = counted.filter(({ ready }) => !ready).map(({ name }) => name);
  if (unready.length === 0) return { type, status: 'True' };
  const message = `containers with unready status: [${unready.join(' ')}]`;
  return { type, status: 'False', reason: 'ContainersNotReady', message };
}

/** Ready asks for the pod's readiness gates, too. */
function gated(input: StatusInput, condition: Draft): Draft {
  if (condition.status !== 'True') return condition;
  const conditions = input.pod.status?.conditions ?? [];
  const missing = (input.pod.spec!.readinessGates ?? []).flatMap(({ conditionType }) => {
    const found = conditions.find(({ type }) => type === conditionType);
    if (!found) return [`corresponding condition of pod readiness gate "${conditionType}" does not exist.`];
    return found.status === 'True'
      ? []
      : [`the status of pod readiness gate "${conditionType}" is not "True", but ${found.status}`];
  });
  if (missing.length === 0) return condition;
  return { type: 'Ready', status: 'False', reason: 'ReadinessGatesNotReady', message: missing.join(', ') };
}
