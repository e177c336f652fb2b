import type { Pod } from '../../api/index.ts';
import { isTerminalPhase } from '../status/phase.ts';
import type { PodRecord } from './pod-record.ts';
import { type RuntimePod, readySandbox, runsSomething } from './runtime-state.ts';

/** Whether the runtime has something of the pod that lives. */
export function isAlive(runtime: RuntimePod): boolean {
  return readySandbox(runtime) !== undefined || runsSomething(runtime);
}

/** Whether a pod is to be ended, for whatever reason. */
export function shouldEnd({ pod, gone, failure }: PodRecord): boolean {
  return (
    gone || failure !== undefined || pod.metadata.deletionTimestamp !== undefined || isTerminalPhase(pod.status?.phase)
  );
}

/** Whether a change of a pod must end what is being done for it now. */
export function mustInterrupt(before: Pod, after: Pod): boolean {
  const deleted = (pod: Pod) => pod.metadata.deletionTimestamp !== undefined;
  if (deleted(after) !== deleted(before)) return true;
  if (!deleted(after)) return false;
  const grace = (pod: Pod) => pod.metadata.deletionGracePeriodSeconds ?? 30;
  return grace(after) < grace(before);
}
