import type { RuntimeContainer, RuntimePod, RuntimeSandbox } from '../pods/runtime-state.ts';

/** What is known of the pod that containers belong to. */
export type PodStanding =
  /** It runs, or may run again. */
  | 'live'
  /** It has ended for good; its object is still there. */
  | 'ended'
  /** Nobody knows it any more. */
  | 'gone';

/** One removal. */
export type ContainerStep =
  | { kind: 'remove-container'; container: RuntimeContainer; pod: RuntimePod }
  | { kind: 'remove-sandbox'; sandbox: RuntimeSandbox };

/** How much of the past is kept. */
export interface ContainerPolicy {
  /** Dead containers kept of each name of a pod, the newest ones. */
  perContainer: number;
  /** Also remove all of pods that have ended although their objects are there: room is short. */
  evenEnded: boolean;
}

/**
 * Decides which dead containers and sandboxes to remove. Pure. Nothing that runs is touched. A sandbox goes when it is
 * not ready, is empty, and is not the newest of a pod that is still there: containers go in one look, their sandbox in the next.
 */
export function planContainers(
  pods: readonly RuntimePod[],
  standing: (podUid: string) => PodStanding,
  { perContainer, evenEnded }: ContainerPolicy,
): ContainerStep[] {
  const steps: ContainerStep[] = [];
  for (const pod of pods) {
    const is = standing(pod.uid);
    const all = is === 'gone' || (is === 'ended' && evenEnded);
    const kept = new Map<string, number>();
    for (const container of pod.containers) {
      if (container.state === 'running' || container.state === 'created') continue;
      const count = kept.get(container.name) ?? 0;
      kept.set(container.name, count + 1);
      if (all || count >= perContainer) steps.push({ kind: 'remove-container', container, pod });
    }
    const occupied = new Set(pod.containers.map(({ sandboxId }) => sandboxId));
    for (const [index, sandbox] of pod.sandboxes.entries()) {
      if (sandbox.ready || occupied.has(sandbox.id) || (index === 0 && !all)) continue;
      steps.push({ kind: 'remove-sandbox', sandbox });
    }
  }
  return steps;
}
