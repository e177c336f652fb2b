import type { Container, ContainerStatus, PodStatus } from '../../api/index.ts';
import { qosClass } from '../pods/container-resources.ts';
import { formatTime, isSidecar } from '../pods/names.ts';
import { readySandbox } from '../pods/runtime-state.ts';
import { podConditions } from './conditions.ts';
import { containerStatus } from './container-status.ts';
import { podPhase } from './phase.ts';
import type { StatusInput } from './status-input.ts';

/** Computes what the API is told about a pod. Pure. */
export function podStatus(given: StatusInput): PodStatus {
  const { pod, previous } = given;
  const spec = pod.spec!;
  const inits = spec.initContainers ?? [];
  const initStatuses = inits.map((container) => containerStatus(given, container, 'init'));
  const input = { ...given, waitsForInit: !isInitialized(inits, initStatuses) };
  // Init containers after the first that is not done wait for it.
  markWaitingInits(inits, initStatuses);
  const appStatuses = spec.containers.map((container) => containerStatus(input, container, 'app'));
  const ephemeral = (spec.ephemeralContainers ?? []).map((one) =>
    containerStatus(input, one as Container, 'ephemeral'),
  );
  const phase = podPhase(pod, initStatuses, appStatuses, input);
  const sandbox = readySandbox(input.runtime) ?? input.runtime.sandboxes[0];
  const podIps = spec.hostNetwork ? (sandbox ? input.hostIps : []) : (sandbox?.ips ?? []);
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

/** Whether every init container is done: ended well, or (a sidecar) started. */
export function isInitialized(inits: readonly Container[], statuses: readonly ContainerStatus[]): boolean {
  return inits.every((container, index) => {
    const status = statuses[index]!;
    return isSidecar(container) ? status.started === true : status.state?.terminated?.exitCode === 0;
  });
}

function markWaitingInits(inits: readonly Container[], statuses: ContainerStatus[]): void {
  let waits = false;
  for (const [index, container] of inits.entries()) {
    const status = statuses[index]!;
    if (waits && status.state?.waiting?.reason === 'ContainerCreating')
      status.state = { waiting: { reason: 'PodInitializing' } };
    if (isSidecar(container) ? status.started !== true : status.state?.terminated?.exitCode !== 0) waits = true;
  }
}
