import type { StopPodSandboxRequest } from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';
import { stopSandbox } from '../sandboxes/stop-sandbox.ts';

/** StopPodSandbox: ends its containers and gives its network back. One that is not there is stopped. */
export async function stopPodSandbox(context: RuntimeContext, request: StopPodSandboxRequest) {
  const sandbox = context.store.sandboxes.find(request.podSandboxId);
  if (sandbox) await stopSandbox(context, sandbox);
  return {};
}
