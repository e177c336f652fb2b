import type { CheckpointContainerRequest } from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';
import { RuntimeError } from '../errors.ts';

/** CheckpointContainer: needs CRIU, which this runtime does not use. */
export function checkpointContainer(context: RuntimeContext, request: CheckpointContainerRequest): never {
  const { id } = context.store.containers.get(request.containerId);
  throw new RuntimeError('UNIMPLEMENTED', `container "${id}" cannot be checkpointed: CRIU is not supported`);
}
