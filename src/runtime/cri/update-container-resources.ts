import { writeFile } from 'node:fs/promises';
import type { LinuxContainerResources, UpdateContainerResourcesRequest } from '../../api/cri/index.ts';
import { faultPoint } from '../../async/index.ts';
import { groundOf } from '../containers/ground.ts';
import { clampOomScoreAdj } from '../containers/oom-score.ts';
import { checkResources, limitChanges, mergeResources } from '../containers/spec/resources.ts';
import { updateBundleResources } from '../containers/update-bundle.ts';
import type { RuntimeContext } from '../context.ts';
import { invalid, notInState, stepFailed } from '../errors.ts';
import type { ContainerRecord } from '../store/container-record.ts';

/**
 * UpdateContainerResources: changes the limits of a container that runs, or will. What it says in annotations is kept
 * and shown, for there is nobody else here whom it could tell something.
 */
export async function updateContainerResources(context: RuntimeContext, request: UpdateContainerResourcesRequest) {
  const { id } = context.store.containers.get(request.containerId);
  const asked = request.linux;
  if (request.windows) throw invalid('Windows resources are given, and this is Linux');
  if (!asked) throw invalid('no linux resources are given');
  checkResources(asked, groundOf(context).resources);
  await context.serial.run(id, async () => {
    const record = context.store.containers.get(id);
    if (record.phase.name === 'exited') throw notInState(`container "${id}" has exited`);
    const resources = mergeResources(record.resources, asked);
    checkResources(resources, groundOf(context).resources);
    if (record.phase.name === 'running') await changeLimits(context, record, asked, resources);
    else await updateBundleResources(context, id, resources);
    await faultPoint('update-container:applied');
    const updateAnnotations = { ...record.updateAnnotations, ...request.annotations };
    await context.store.containers.update(id, { resources, updateAnnotations });
    await faultPoint('update-container:recorded');
  });
  return {};
}

/** Writes the limits; when one is refused, those before it go back to what they were. */
async function changeLimits(
  context: RuntimeContext,
  record: ContainerRecord,
  asked: LinuxContainerResources,
  merged: LinuxContainerResources,
): Promise<void> {
  try {
    context.cgroups.apply(record.cgroupPath, limitChanges(asked, merged));
    const score = asked.oomScoreAdj ? clampOomScoreAdj(context, asked.oomScoreAdj) : undefined;
    if (score !== undefined && record.phase.name === 'running')
      await writeFile(`/proc/${record.phase.process.pid}/oom_score_adj`, String(score));
  } catch (cause) {
    try {
      if (record.resources) context.cgroups.apply(record.cgroupPath, limitChanges(record.resources, record.resources));
    } catch {
      // The first refusal is the one to tell.
    }
    throw stepFailed('failed to update resources', cause);
  }
}
