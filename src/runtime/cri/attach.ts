import type { MessageInitShape } from '@bufbuild/protobuf';
import type { AttachRequest, AttachResponseSchema } from '../../api/cri/index.ts';
import type { RecordContext } from '../context.ts';
import { notInState } from '../errors.ts';
import { checkStreams } from './exec.ts';

/** Attach: an address at which the first process of a container can be talked to. */
export function attach(context: RecordContext, request: AttachRequest): MessageInitShape<typeof AttachResponseSchema> {
  const record = context.store.containers.get(request.containerId);
  if (record.phase.name !== 'running') throw notInState(`container "${record.id}" is not running`);
  checkStreams(request);
  return { url: context.streaming.url({ kind: 'attach', request: { ...request, containerId: record.id } }) };
}
