import type { Container, Pod } from '../../api/index.ts';
import { isSidecar } from './names.ts';

/**
 * Whether a container that ended with the exit code is started again: by its own rules, then its own policy, then the
 * pod's. An ordinary init container that succeeded is done, whatever the policy.
 */
export function shouldRestart(pod: Pod, container: Container, exitCode: number, isInit: boolean): boolean {
  if (isInit && isSidecar(container)) return true;
  for (const rule of container.restartPolicyRules ?? []) {
    const values = rule.exitCodes?.values ?? [];
    const holds = rule.exitCodes?.operator === 'NotIn' ? !values.includes(exitCode) : values.includes(exitCode);
    if (rule.exitCodes && holds) return rule.action === 'Restart' || rule.action === 'RestartAllContainers';
  }
  const policy = container.restartPolicy ?? pod.spec!.restartPolicy ?? 'Always';
  if (policy === 'Never') return false;
  if (policy === 'OnFailure' || isInit) return exitCode !== 0;
  return true;
}
