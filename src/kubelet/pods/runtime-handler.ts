import type { Pod } from '../../api/index.ts';
import { PodError } from '../errors.ts';
import type { PodKit } from './kit.ts';

/**
 * The name of the runtime's handler that is to run a pod: that of its RuntimeClass, or '' for the runtime's default.
 * @throws PodError CreatePodSandboxConfigError when there is no such class
 */
export async function runtimeHandlerOf(kit: Pick<PodKit, 'objects'>, pod: Pod): Promise<string> {
  const name = pod.spec.runtimeClassName;
  if (!name) return '';
  const found = await kit.objects.runtimeClass(name);
  if (!found)
    throw new PodError(
      'CreatePodSandboxConfigError',
      `failed to get sandbox runtime: RuntimeClass.node.k8s.io "${name}" not found`,
    );
  return found.handler;
}
