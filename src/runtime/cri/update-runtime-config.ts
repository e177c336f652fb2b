import type { UpdateRuntimeConfigRequest } from '../../api/cri/index.ts';
import type { RecordContext } from '../context.ts';
import { invalid } from '../errors.ts';
import { splitRanges } from '../network/bridge/bridge-network.ts';

/**
 * UpdateRuntimeConfig: tells the ranges of pod addresses, `10.88.0.0/24` or one of each family with a comma between. Pods
 * that are there keep their addresses. None told means no change.
 */
export async function updateRuntimeConfig(context: RecordContext, request: UpdateRuntimeConfigRequest) {
  const cidrs = splitRanges(request.runtimeConfig?.networkConfig?.podCidr ?? '');
  if (cidrs.length === 0) return {};
  try {
    context.bridge.tellRanges(cidrs);
  } catch (cause) {
    throw invalid((cause as Error).message);
  }
  return {};
}
