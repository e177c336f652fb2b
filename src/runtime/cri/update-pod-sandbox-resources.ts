import type { UpdatePodSandboxResourcesRequest } from '../../api/cri/index.ts';
import { cgroupLimits, checkResources, machineResources } from '../containers/spec/resources.ts';
import type { RecordContext } from '../context.ts';
import { notInState, stepFailed } from '../errors.ts';
import { podResources } from '../sandboxes/sandbox-cgroup.ts';

/**
 * UpdatePodSandboxResources: writes the limits of the whole pod (resources and overhead) to its cgroup, be it the
 * sandbox's own or the parent that it was given. A parent that several sandboxes share is not one pod's to change.
 */
export async function updatePodSandboxResources(context: RecordContext, request: UpdatePodSandboxResourcesRequest) {
  const { id } = context.store.sandboxes.get(request.podSandboxId);
  const { resources, overhead } = request;
  for (const one of [resources, overhead]) checkResources(one, machineResources(context.cgroups));
  await context.serial.run(id, async () => {
    const sandbox = context.store.sandboxes.get(id);
    const { linux } = sandbox.config;
    const limits = podResources(resources ?? linux?.resources, overhead ?? linux?.overhead);
    try {
      if (limits && (resources || overhead)) {
        refuseShared(context, id, sandbox.cgroupParent);
        context.cgroups.apply(sandbox.cgroupParent, cgroupLimits(limits));
      }
    } catch (cause) {
      throw stepFailed('failed to update sandbox resources', cause);
    }
    if (linux && resources) linux.resources = resources;
    if (linux && overhead) linux.overhead = overhead;
    await context.store.sandboxes.put(sandbox);
  });
  return {};
}

function refuseShared(context: RecordContext, id: string, cgroup: string): void {
  const other = context.store.sandboxes.list().find((one) => one.id !== id && one.cgroupParent === cgroup);
  if (other && other.phase === 'ready')
    throw notInState(`cgroup ${cgroup} is shared with sandbox "${other.id}": its limits are not one pod's to change`);
}
