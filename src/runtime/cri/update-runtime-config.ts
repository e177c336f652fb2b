import type { UpdateRuntimeConfigRequest } from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';
import { invalid } from '../errors.ts';

/** UpdateRuntimeConfig: tells the range of pod addresses, unless it was configured or is known. */
export async function updateRuntimeConfig(context: RuntimeContext, request: UpdateRuntimeConfigRequest) {
  const cidrs = (request.runtimeConfig?.networkConfig?.podCidr ?? '').split(',').filter(Boolean);
  const cidr = cidrs.find((one) => !one.includes(':'));
  if (!cidr) return {};
  try {
    context.bridge.setRange(cidr);
  } catch (cause) {
    throw invalid((cause as Error).message);
  }
  return {};
}
