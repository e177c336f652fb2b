import type { Container, ContainerState, ContainerStatus, PodStatus } from '../../api/index.ts';
import { qosClass } from '../pods/container-resources.ts';
import { formatTime } from '../pods/names.ts';
import { mayRestartAll, restartAllCauses } from '../pods/restart-policy.ts';
import { newestContainer, readySandbox } from '../pods/runtime-state.ts';
import { podConditions } from './conditions.ts';
import { containerStatus, endedStatuses } from './container-status.ts';
import { podPhase } from './phase.ts';
import { podResourceStatus } from './resource-status.ts';
import type { StatusInput } from './status-input.ts';

/** Computes what the API is told about a pod. Pure. */
export function podStatus(given: StatusInput): PodStatus {
  const { pod, previous } = given;
  const spec = pod.spec!;
  const inits = spec.initContainers ?? [];
  const input = {
    ...given,
    ...restartOfAll(given),
    appsCreated: spec.containers.some(({ name }) => newestContainer(given.runtime, name)),
  };
  const initStatuses = inits.map((container) => containerStatus(input, container, 'init'));
  const appStatuses = spec.containers.map((container) => containerStatus(input, container, 'app'));
  const ephemeral = (spec.ephemeralContainers ?? []).map((one) =>
    containerStatus(input, one as Container, 'ephemeral'),
  );
  if (input.ended) endedStatuses(pod, initStatuses, appStatuses);
  limitMessages([...initStatuses, ...appStatuses, ...ephemeral]);
  const computed = podPhase(pod, initStatuses, appStatuses, input);
  // While all is started anew a pod stays in the phase that it was in.
  const phase = input.restartingAll ? (previous?.phase ?? computed) : computed;
  const sandbox = readySandbox(input.runtime) ?? input.runtime.sandboxes[0];
  const podIps = spec.hostNetwork ? (sandbox ? input.hostIps : []) : inNodeOrder(sandbox?.ips ?? [], input.hostIps);
  const kept = podIps.length > 0 ? podIps : (previous?.podIPs ?? []).map(({ ip }) => ip!);
  const status: PodStatus = {
    phase,
    observedGeneration: pod.metadata.generation,
    qosClass: pod.status?.qosClass ?? qosClass(pod),
    startTime: previous?.startTime ?? formatTime(input.startedAt),
    hostIP: input.hostIps[0],
    hostIPs: input.hostIps.map((ip) => ({ ip })),
    ...(kept.length > 0 ? { podIP: kept[0], podIPs: kept.map((ip) => ({ ip })) } : {}),
    ...(inits.length > 0 ? { initContainerStatuses: initStatuses } : {}),
    containerStatuses: appStatuses,
    ...podResourceStatus(pod, phase === 'Running' ? input.actuated : undefined),
    ...(ephemeral.length > 0 ? { ephemeralContainerStatuses: ephemeral } : {}),
    ...(input.failure ? { reason: input.failure.reason, message: input.failure.message } : {}),
  };
  if (status.observedGeneration === undefined) delete status.observedGeneration;
  // A status that a restarted kubelet finds keeps its reason.
  if (!input.failure && phase === 'Failed' && previous?.reason) {
    status.reason = previous.reason;
    if (previous.message) status.message = previous.message;
  }
  status.conditions = podConditions(input, status);
  return status;
}

/** Addresses of a pod, one of each family, that of the node's own first. */
export function inNodeOrder(ips: readonly string[], hostIps: readonly string[]): string[] {
  const isSix = (ip: string) => ip.includes(':');
  const first = isSix(hostIps[0] ?? ips[0] ?? '');
  const chosen = [ips.find((ip) => isSix(ip) === first), ips.find((ip) => isSix(ip) !== first)];
  return chosen.filter((ip) => ip !== undefined);
}

/** Whether all containers are being started anew: known by those that asked for it, which are taken away last. */
function restartOfAll({ pod, runtime, previous, ended }: StatusInput): Partial<StatusInput> {
  if (ended || !mayRestartAll(pod)) return {};
  if (restartAllCauses(pod, runtime).length > 0) return { restartingAll: true, hasRestartCauses: true };
  // All have been taken away and none has been made again.
  const own = new Set([...(pod.spec.initContainers ?? []), ...pod.spec.containers].map(({ name }) => name));
  const was = previous?.conditions?.some(({ type, status }) => type === 'AllContainersRestarting' && status === 'True');
  return was && !runtime.containers.some(({ name }) => own.has(name)) ? { restartingAll: true } : {};
}

/** The messages of all containers of a pod together may take so many bytes. */
const maxMessageBytes = 12 * 1024;

function limitMessages(statuses: ContainerStatus[]): void {
  const most = Math.floor(maxMessageBytes / Math.max(1, statuses.length));
  for (const status of statuses) {
    status.state = limited(status.state, most);
    status.lastState = limited(status.lastState, most);
  }
}

function limited(state: ContainerState | undefined, bytes: number): ContainerState {
  const message = state?.terminated?.message;
  if (message === undefined || Buffer.byteLength(message) <= bytes) return state ?? {};
  // Not in the middle of a character.
  const text = Buffer.from(message)
    .subarray(0, bytes)
    .toString('utf8')
    .replace(/\uFFFD$/, '');
  return { terminated: { ...state!.terminated!, message: text } };
}
