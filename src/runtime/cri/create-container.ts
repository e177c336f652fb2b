import type { MessageInitShape } from '@bufbuild/protobuf';
import type { CreateContainerRequest, CreateContainerResponseSchema } from '../../api/cri/index.ts';
import { createContainer as create } from '../containers/create-container.ts';
import type { RuntimeContext } from '../context.ts';
import { invalid } from '../errors.ts';

/** CreateContainer: prepares a container in a sandbox; StartContainer runs it. */
export async function createContainer(
  context: RuntimeContext,
  request: CreateContainerRequest,
): Promise<MessageInitShape<typeof CreateContainerResponseSchema>> {
  if (!request.config) throw invalid('a container needs a config');
  const sandbox = context.store.sandboxes.get(request.podSandboxId);
  return { containerId: await create(context, sandbox, request.config) };
}
