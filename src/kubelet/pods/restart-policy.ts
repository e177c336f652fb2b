import type { Container, Pod } from '../../api/index.ts';
import { isSidecar } from './names.ts';
import { newestContainer, type RuntimeContainer, type RuntimePod } from './runtime-state.ts';

/**
 * Whether a container that ended with the exit code is started again: by its own rules, then its own policy, then the
 * pod's. An ordinary init container that succeeded is done, whatever the policy.
 */
export function shouldRestart(pod: Pod, container: Container, exitCode: number, isInit: boolean): boolean {
  if (isInit && isSidecar(container)) return true;
  const action = ruleFor(container, exitCode);
  if (action === 'Restart' || action === 'RestartAllContainers') return true;
  const policy = container.restartPolicy ?? pod.spec!.restartPolicy ?? 'Always';
  if (policy === 'Never') return false;
  if (policy === 'OnFailure' || isInit) return exitCode !== 0;
  return true;
}

/** What the first of the container's rules that holds for the exit code asks for. */
function ruleFor({ restartPolicyRules }: Container, exitCode: number): string | undefined {
  for (const { action, exitCodes } of restartPolicyRules ?? []) {
    if (!exitCodes) continue;
    const has = (exitCodes.values ?? []).includes(exitCode);
    if (exitCodes.operator === 'NotIn' ? !has : has) return action;
  }
  return undefined;
}

/** Whether some container of the pod may ask for all to be restarted. */
export function mayRestartAll(pod: Pod): boolean {
  return countedContainers(pod).some(({ restartPolicyRules }) =>
    restartPolicyRules?.some(({ action }) => action === 'RestartAllContainers'),
  );
}

/** The containers whose end asks for all of the pod's to be restarted. Told by what the runtime has: it survives us. */
export function restartAllCauses(pod: Pod, runtime: RuntimePod): RuntimeContainer[] {
  if (!mayRestartAll(pod) || pod.metadata.deletionTimestamp !== undefined) return [];
  return countedContainers(pod).flatMap((container) => {
    const newest = newestContainer(runtime, container.name);
    return newest?.state === 'exited' && asksForAll(container, newest.exitCode) ? [newest] : [];
  });
}

/** Whether the end of the container with that code asks for all to be restarted. */
export function asksForAll(container: Container, exitCode: number): boolean {
  return ruleFor(container, exitCode) === 'RestartAllContainers';
}

function countedContainers({ spec }: Pod): Container[] {
  return [...(spec.initContainers ?? []), ...spec.containers];
}
