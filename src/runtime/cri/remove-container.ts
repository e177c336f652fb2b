import type { RemoveContainerRequest } from '../../api/cri/index.ts';
import { removeContainer as remove } from '../containers/remove-container.ts';
import type { RuntimeContext } from '../context.ts';

/** RemoveContainer: takes a container away, killing it if it runs. One that is not there is removed. */
export async function removeContainer(context: RuntimeContext, request: RemoveContainerRequest) {
  const record = context.store.containers.find(request.containerId);
  if (record) await remove(context, record);
  return {};
}
