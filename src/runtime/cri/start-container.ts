import type { StartContainerRequest } from '../../api/cri/index.ts';
import { startContainer as start } from '../containers/start-container.ts';
import type { RuntimeContext } from '../context.ts';

/** StartContainer: runs a prepared container. */
export async function startContainer(context: RuntimeContext, request: StartContainerRequest) {
  await start(context, context.store.containers.get(request.containerId).id);
  return {};
}
