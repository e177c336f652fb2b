import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ListPodSandboxRequest, ListPodSandboxResponseSchema, PodSandboxFilter } from '../../api/cri/index.ts';
import type { RecordContext } from '../context.ts';
import { matchesLabels } from '../identifiers.ts';
import type { SandboxRecord } from '../store/sandbox-record.ts';
import { sandboxState, toSandbox } from './convert.ts';

/** ListPodSandbox: the sandboxes that pass a filter. */
export function listPodSandbox(
  context: RecordContext,
  request: ListPodSandboxRequest,
): MessageInitShape<typeof ListPodSandboxResponseSchema> {
  return { items: filterSandboxes(context, request.filter).map(toSandbox) };
}

/** The sandboxes that pass a filter; those that are only being made are not shown. */
export function filterSandboxes(
  context: RecordContext,
  filter: Partial<PodSandboxFilter> | undefined,
): SandboxRecord[] {
  const visible = context.store.sandboxes.list().filter(({ phase }) => phase !== 'creating');
  return visible.filter(
    (record) =>
      (!filter?.id || record.id.startsWith(filter.id)) &&
      (!filter?.state || sandboxState(record) === filter.state.state) &&
      matchesLabels(record.config.labels, filter?.labelSelector),
  );
}
