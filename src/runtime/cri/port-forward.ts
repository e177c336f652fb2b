import type { MessageInitShape } from '@bufbuild/protobuf';
import type { PortForwardRequest, PortForwardResponseSchema } from '../../api/cri/index.ts';
import type { RecordContext } from '../context.ts';
import { notInState } from '../errors.ts';

/** PortForward: an address at which ports inside a sandbox can be reached. */
export function portForward(
  context: RecordContext,
  request: PortForwardRequest,
): MessageInitShape<typeof PortForwardResponseSchema> {
  const record = context.store.sandboxes.get(request.podSandboxId);
  if (record.phase !== 'ready') throw notInState(`sandbox "${record.id}" is not running`);
  return { url: context.streaming.url({ kind: 'portforward', request: { ...request, podSandboxId: record.id } }) };
}
