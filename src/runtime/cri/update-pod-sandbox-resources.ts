import type { UpdatePodSandboxResourcesRequest } from '../../api/cri/index.ts';
import { cgroupLimits } from '../containers/spec/resources.ts';
import type { RuntimeContext } from '../context.ts';
import { stepFailed } from '../errors.ts';

/** UpdatePodSandboxResources: changes the limits of a sandbox's own cgroup; a given parent is its owner's to change. */
export async function updatePodSandboxResources(context: RuntimeContext, request: UpdatePodSandboxResourcesRequest) {
  const sandbox = context.store.sandboxes.get(request.podSandboxId);
  await context.serial.run(sandbox.id, async () => {
    const { linux } = sandbox.config;
    try {
      if (request.resources && !linux?.cgroupParent)
        context.cgroups.apply(sandbox.cgroupParent, cgroupLimits(request.resources));
    } catch (cause) {
      throw stepFailed('failed to update sandbox resources', cause);
    }
    if (linux && request.resources) linux.resources = request.resources;
    if (linux && request.overhead) linux.overhead = request.overhead;
    await context.store.sandboxes.put(sandbox);
  });
  return {};
}
