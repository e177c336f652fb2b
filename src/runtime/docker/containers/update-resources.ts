import type { UpdateContainerResourcesRequest } from '../../../api/cri/index.ts';
import { stage } from '../../calls/index.ts';
import { mergeResources } from '../../containers/spec/resources.ts';
import { invalid, notInState, stepFailed } from '../../errors.ts';
import type { DockerContext } from '../docker-context.ts';
import { engineResources } from './engine-resources.ts';

/** UpdateContainerResources: changes the limits of a container that runs, or will. */
export async function updateContainerResources(context: DockerContext, request: UpdateContainerResourcesRequest) {
  const { id } = context.store.containers.get(request.containerId);
  const asked = request.linux;
  if (request.windows) throw invalid('Windows resources are given, and this is Linux');
  if (!asked) throw invalid('no linux resources are given');
  await context.serial.run(id, async () => {
    const record = context.store.containers.get(id);
    if (record.phase.name === 'exited') throw notInState(`container "${id}" has exited`);
    try {
      await stage('update', () => context.engine.post(`/containers/${id}/update`, { body: engineResources(asked) }));
    } catch (cause) {
      throw stepFailed('failed to update resources', cause);
    }
    const updateAnnotations = { ...record.updateAnnotations, ...request.annotations };
    await context.store.containers.update(id, {
      resources: mergeResources(record.resources, asked),
      updateAnnotations,
    });
  });
  return {};
}
