import type { CheckpointContainerRequest } from '../../api/cri/index.ts';
import { checkpointContainer as checkpoint } from '../containers/checkpoint.ts';
import type { RuntimeContext } from '../context.ts';

/** CheckpointContainer: writes a container that runs to an archive. Needs CRIU. */
export async function checkpointContainer(context: RuntimeContext, request: CheckpointContainerRequest) {
  const record = context.store.containers.get(request.containerId);
  const { location, timeout } = request;
  await checkpoint(context, record, { location, timeoutSeconds: Number(timeout) });
  return {};
}
