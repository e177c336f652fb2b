import type { StopContainerRequest } from '../../api/cri/index.ts';
import { stopContainer as stop } from '../containers/stop-container.ts';
import type { RuntimeContext } from '../context.ts';

/** StopContainer: asks, waits, kills. A container that is not there is stopped. */
export async function stopContainer(context: RuntimeContext, request: StopContainerRequest) {
  const record = context.store.containers.find(request.containerId);
  if (record) await stop(context, record, Number(request.timeout));
  return {};
}
