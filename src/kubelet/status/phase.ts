import type { Container, ContainerStatus, Pod } from '../../api/index.ts';
import { isSidecar } from '../pods/names.ts';
import { shouldRestart } from '../pods/restart-policy.ts';

/** The phases in which a pod stays for good. */
export function isTerminalPhase(phase: string | undefined): boolean {
  return phase === 'Succeeded' || phase === 'Failed';
}

/**
 * The phase of a pod by its containers' states. Pending until the ordinary init containers are done and every container
 * has started once; Running; Succeeded or Failed when all have ended for good. Sidecars do not count. Never leaves a
 * terminal phase.
 */
export function podPhase(
  pod: Pod,
  initStatuses: readonly ContainerStatus[],
  appStatuses: readonly ContainerStatus[],
  { ended, failure, previous }: { ended: boolean; failure?: object; previous?: { phase?: string } },
): string {
  if (isTerminalPhase(previous?.phase)) return previous!.phase!;
  if (ended) {
    const good =
      !failure && appStatuses.length > 0 && appStatuses.every((one) => one.state?.terminated?.exitCode === 0);
    return good && initOutcome(pod, initStatuses) !== 'failed' ? 'Succeeded' : 'Failed';
  }
  const init = initOutcome(pod, initStatuses);
  if (init === 'pending' && appStatuses.every(neverStarted)) return 'Pending';
  // What has failed for good is Failed once the rest has ended, too.
  if (init === 'failed') return 'Pending';
  if (appStatuses.some(neverStarted)) return 'Pending';
  return 'Running';
}

function neverStarted(status: ContainerStatus): boolean {
  return status.state?.waiting !== undefined && status.lastState?.terminated === undefined;
}

function initOutcome(pod: Pod, statuses: readonly ContainerStatus[]): 'done' | 'pending' | 'failed' {
  const inits: readonly Container[] = pod.spec!.initContainers ?? [];
  let outcome: 'done' | 'pending' | 'failed' = 'done';
  for (const [index, container] of inits.entries()) {
    if (isSidecar(container)) {
      if (statuses[index]?.started !== true) outcome = 'pending';
      continue;
    }
    const end = statuses[index]?.state?.terminated;
    if (end?.exitCode === 0) continue;
    if (end && !shouldRestart(pod, container, end.exitCode, true)) return 'failed';
    outcome = 'pending';
  }
  return outcome;
}
