import { isRunning } from '../../host/exec/index.ts';
import { isPinned, unpinNamespace } from '../../host/namespaces/index.ts';
import { networkRequest } from '../sandboxes/network-request.ts';
import type { ContainerRecord } from '../store/container-record.ts';
import type { SandboxRecord } from '../store/sandbox-record.ts';
import { noteState } from './containers/note-state.ts';
import { inspect } from './containers/stop-container.ts';
import { type DockerContext, labels } from './docker-context.ts';
import type { ContainerSummary } from './engine/index.ts';
import { releaseSandbox, removeFromEngine } from './sandboxes/release-sandbox.ts';
import { markStopped } from './sandboxes/stop-sandbox.ts';

/**
 * Makes the records and what the engine has agree, after the adapter or the engine was away: what ended meanwhile is
 * taken down, half-made sandboxes are undone, containers that no record names are removed, and those of others are left.
 */
export async function reconcile(context: DockerContext): Promise<void> {
  const filters = JSON.stringify({ label: [`${labels.owner}=${context.settings.root}`] });
  const ours = await context.engine.get<ContainerSummary[]>('/containers/json', { all: true, filters });
  const ids = new Set(ours.map(({ Id }) => Id));
  const { containers, sandboxes } = context.store;
  await each(context, containers.list(), (record) => reconcileContainer(context, record, ids));
  await each(context, sandboxes.list(), (record) => reconcileSandbox(context, record, ids));
  // Work that is going on may be about to write its record: only what was there before it was asked for can be without.
  const strangers = ours.filter(({ Id }) => !containers.find(Id) && !sandboxes.find(Id));
  return each(
    context,
    strangers.filter(({ State }) => State !== 'created').map(({ Id }) => ({ id: Id })),
    ({ id }) => removeFromEngine(context, id),
  );
}

/** Takes up the networks of sandboxes that run, and gives back those of others. */
export async function collectNetworks({ network, store }: DockerContext): Promise<void> {
  const attached = store.sandboxes
    .list()
    .filter((one) => one.network && (one.phase === 'ready' || one.network.kind === 'cni'));
  await network.collect(attached.map(networkRequest));
}

async function each<T extends { id: string }>(
  context: DockerContext,
  records: readonly T[],
  work: (record: T) => Promise<void>,
): Promise<void> {
  await Promise.all(
    records.map(({ id }, at) =>
      context.serial
        .run(id, () => work(records[at]!))
        .catch((error: unknown) => context.log.error('a container cannot be put in order', { id, error })),
    ),
  );
}

async function reconcileContainer(
  context: DockerContext,
  record: ContainerRecord,
  ids: ReadonlySet<string>,
): Promise<void> {
  if (!context.store.containers.find(record.id)) return;
  const details = ids.has(record.id) ? await inspect(context, record.id) : undefined;
  if (details) return noteState(context, record, details);
  context.log.warn('a container was removed behind our back', { id: record.id, name: record.config.metadata?.name });
  await context.logs.end(record.id);
  await context.store.containers.delete(record.id);
}

async function reconcileSandbox(
  context: DockerContext,
  record: SandboxRecord,
  ids: ReadonlySet<string>,
): Promise<void> {
  const { network } = record.namespaces;
  if (!ids.has(record.id)) {
    context.log.warn('a sandbox was removed behind our back', { id: record.id, name: record.config.metadata?.name });
    if (network && !isPinned(network)) unpinNamespace(network);
    await releaseSandbox(context, record);
    return context.store.sandboxes.delete(record.id);
  }
  if (record.phase === 'creating') {
    await releaseSandbox(context, record);
    return context.store.sandboxes.delete(record.id);
  }
  if (record.phase === 'ready' && !(record.holder && isRunning(record.holder))) await markStopped(context, record);
}
