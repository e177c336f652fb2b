import type { MessageInitShape } from '@bufbuild/protobuf';
import type { RunPodSandboxRequest, RunPodSandboxResponseSchema } from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';
import { invalid } from '../errors.ts';
import { runSandbox } from '../sandboxes/run-sandbox.ts';

/** RunPodSandbox: makes a sandbox that is ready for containers. */
export async function runPodSandbox(
  context: RuntimeContext,
  request: RunPodSandboxRequest,
): Promise<MessageInitShape<typeof RunPodSandboxResponseSchema>> {
  if (!request.config) throw invalid('a sandbox needs a config');
  return { podSandboxId: await runSandbox(context, request.config, request.runtimeHandler) };
}
