import type { RemovePodSandboxRequest } from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';
import { removeSandbox } from '../sandboxes/stop-sandbox.ts';

/** RemovePodSandbox: takes a sandbox and its containers away. One that is not there is removed. */
export async function removePodSandbox(context: RuntimeContext, request: RemovePodSandboxRequest) {
  const sandbox = context.store.sandboxes.find(request.podSandboxId);
  if (sandbox) await removeSandbox(context, sandbox);
  return {};
}
