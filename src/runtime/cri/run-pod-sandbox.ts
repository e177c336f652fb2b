import type { RunPodSandboxRequest } from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';
import { invalid } from '../errors.ts';
import { runSandbox } from '../sandboxes/run-sandbox.ts';

/** RunPodSandbox: makes a sandbox that is ready for containers. */
export async function runPodSandbox(context: RuntimeContext, request: RunPodSandboxRequest) {
  if (!request.config) throw invalid('a sandbox needs a config');
  return { podSandboxId: await runSandbox(context, request.config, request.runtimeHandler) };
}
