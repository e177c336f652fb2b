import type { MessageInitShape } from '@bufbuild/protobuf';
import type {
  PodSandboxStatsFilter,
  PodSandboxStatsRequest,
  PodSandboxStatsResponseSchema,
  PodSandboxStatsSchema,
} from '../../api/cri/index.ts';
import type { RecordContext } from '../context.ts';
import { notInState } from '../errors.ts';
import { sandboxStatsOf } from '../stats/container-stats.ts';
import type { SandboxRecord } from '../store/sandbox-record.ts';
import { filterSandboxes } from './list-pod-sandbox.ts';

/** PodSandboxStats: what one sandbox uses. */
export async function podSandboxStats(
  context: RecordContext,
  request: PodSandboxStatsRequest,
): Promise<MessageInitShape<typeof PodSandboxStatsResponseSchema>> {
  const record = context.store.sandboxes.get(request.podSandboxId);
  if (record.phase !== 'ready') throw notInState(`sandbox "${record.id}" is not running and has no stats`);
  return { stats: await statsOf(context, record) };
}

/** The stats of the ready sandboxes that pass a filter. */
export function statsOfSandboxes(context: RecordContext, filter: PodSandboxStatsFilter | undefined) {
  const { id = '', labelSelector = {} } = filter ?? {};
  const ready = filterSandboxes(context, { id, labelSelector }).filter(({ phase }) => phase === 'ready');
  return Promise.all(ready.map((record) => statsOf(context, record)));
}

async function statsOf(
  context: RecordContext,
  record: SandboxRecord,
): Promise<MessageInitShape<typeof PodSandboxStatsSchema>> {
  const { metadata, labels, annotations } = record.config;
  const linux = await sandboxStatsOf(context, record);
  return { attributes: { id: record.id, metadata, labels, annotations }, linux };
}
