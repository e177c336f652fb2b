import { writeFile } from 'node:fs/promises';
import type { UpdateContainerResourcesRequest } from '../../api/cri/index.ts';
import { faultPoint } from '../../async/index.ts';
import { clampOomScoreAdj } from '../containers/oom-score.ts';
import { cgroupLimits, mergeResources } from '../containers/spec/resources.ts';
import { updateBundleResources } from '../containers/update-bundle.ts';
import type { RuntimeContext } from '../context.ts';
import { invalid, notInState, stepFailed } from '../errors.ts';

/** UpdateContainerResources: changes the limits of a container that runs, or will. */
export async function updateContainerResources(context: RuntimeContext, request: UpdateContainerResourcesRequest) {
  const { id } = context.store.containers.get(request.containerId);
  const asked = request.linux;
  if (!asked) throw invalid('no linux resources are given');
  await context.serial.run(id, async () => {
    const record = context.store.containers.get(id);
    if (record.phase.name === 'exited') throw notInState(`container "${id}" has exited`);
    const resources = mergeResources(record.resources, asked);
    if (record.phase.name === 'running') {
      try {
        context.cgroups.apply(record.cgroupPath, cgroupLimits(asked));
        const score = asked.oomScoreAdj ? clampOomScoreAdj(context, asked.oomScoreAdj) : undefined;
        if (score !== undefined) await writeFile(`/proc/${record.phase.process.pid}/oom_score_adj`, String(score));
      } catch (cause) {
        throw stepFailed('failed to update resources', cause);
      }
    } else await updateBundleResources(context, id, resources);
    await faultPoint('update-container:applied');
    await context.store.containers.update(id, { resources });
    await faultPoint('update-container:recorded');
  });
  return {};
}
