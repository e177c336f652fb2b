import { type ApiObject, type Resource, resources } from '../../../api/index.ts';
import { KeyedQueue } from '../../../async/index.ts';
import {
  type ApiClient,
  ApiError,
  createInformer,
  readLines,
  resourcePath,
  type SelectOptions,
  type WatchEvent,
} from '../../../client/index.ts';
import type { Controller, ControllerContext } from '../framework/controller.ts';
import { DiscoveryCache, type ServedResource } from '../framework/discovery.ts';
import { Collector } from './collector.ts';
import { OwnerGraph } from './graph.ts';

/** Nothing owns these, and they own nothing; watching them would only cost. */
const ignored = new Set([
  'events',
  'events.k8s.io/events',
  'componentstatuses',
  'bindings',
  'metrics.k8s.io/pods',
  'metrics.k8s.io/nodes',
]);

/** The kinds that most dependents are of: watched at once. All others follow a little later, so that they do not delay the start. */
const early: readonly Resource<any>[] = [
  resources.pods,
  resources.replicasets,
  resources.deployments,
  resources.services,
  resources.endpointslices,
  resources.nodes,
  resources.leases,
];
const lateMs = 3_000;
/** How long an owner may stay unknown before the API server is asked about it, milliseconds. */
const strangerMs = 500;
/** New kinds (custom resources) are looked for this often, milliseconds. */
const rediscoverMs = 60_000;

/** Deletes what has lost its owners, as the owners' deletion policy asks: background, foreground, orphan. */
export function startGarbageCollector(context: ControllerContext): Controller {
  const graph = new OwnerGraph();
  const discovery = new DiscoveryCache(context.client, context.clock);
  const byKind = new Map<string, Resource<any>>();
  const stop = new AbortController();
  const watched = new Set<string>();
  const remember = (one: Resource<any>) => byKind.set(`${one.apiVersion}/${one.kind}`, one);
  for (const one of Object.values(resources)) remember(one);
  const collector = new Collector(context, graph, (apiVersion, kind) => byKind.get(`${apiVersion}/${kind}`));
  const queue = new KeyedQueue(
    async (uid) => {
      for (const next of await collector.process(uid)) queue.add(next);
    },
    {
      concurrency: 16,
      clock: context.clock,
      onError: (uid, error) => context.log.debug('collection failed', { uid, name: graph.get(uid)?.name, error }),
    },
  );
  const observe =
    (resource: Resource<any>) => (_key: string, now: ApiObject | undefined, before: ApiObject | undefined) => {
      const gone = before && before.metadata.uid !== now?.metadata.uid ? before : undefined;
      if (gone) {
        collector.noteGone(gone.metadata.uid);
        for (const { uid } of graph.remove(gone.metadata.uid)) queue.add(uid);
      }
      if (!now || (before && !gone && sameOwnership(now, before))) return;
      for (const { uid, owners } of graph.set(resource, now)) {
        // An owner that is not known yet may be about to be.
        if (owners.some((owner) => graph.get(owner.uid)?.virtual)) queue.addAfter(uid, strangerMs);
        else queue.add(uid);
      }
    };
  const watch = (resource: Resource<any>): void => {
    const key = resource.group ? `${resource.group}/${resource.plural}` : resource.plural;
    if (watched.has(key) || ignored.has(key)) return;
    watched.add(key);
    remember(resource);
    const shared = context.informers.existing(resource);
    if (shared) {
      shared.subscribe(observe(resource));
      for (const object of shared.informer.list()) observe(resource)('', object, undefined);
      return;
    }
    const { log, clock } = context;
    createInformer<ApiObject>(metadataClient(context.client), resource, {
      onChange: observe(resource),
      log,
      clock,
    }).start(stop.signal);
  };
  const isWatchable = ({ verbs }: ServedResource) => ['list', 'watch', 'delete'].every((verb) => verbs.includes(verb));
  const follow = async (): Promise<void> => {
    for (const resource of early) watch(resource);
    await context.clock.sleep(lateMs, stop.signal);
    for (;;) {
      try {
        const { resources: served } = await discovery.get({ fresh: true });
        for (const one of served.filter(isWatchable)) {
          watch(one);
          // A breath between connections: this must not be felt.
          if (!context.informers.existing(one)) await context.clock.sleep(20, stop.signal);
        }
      } catch (error) {
        if (stop.signal.aborted) return;
        context.log.debug('discovery failed', { error });
      }
      await context.clock.sleep(rediscoverMs, stop.signal);
    }
  };
  void follow().catch(() => {});
  return {
    stop: async () => {
      stop.abort(new Error('stopped'));
      await queue.stop();
    },
  };
}

/** Whether nothing that the collector looks at has changed. */
function sameOwnership({ metadata: a }: ApiObject, { metadata: b }: ApiObject): boolean {
  return (
    a.deletionTimestamp === b.deletionTimestamp &&
    JSON.stringify(a.finalizers) === JSON.stringify(b.finalizers) &&
    JSON.stringify(a.ownerReferences) === JSON.stringify(b.ownerReferences)
  );
}

const metadataOnly = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json';
const metadataList = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json';

/** A client whose lists and watches bring only the objects' metadata. */
function metadataClient(client: ApiClient): ApiClient {
  const view = Object.create(client) as ApiClient;
  view.list = async <T extends ApiObject>(resource: Resource<T>) => {
    const { body } = await client.request('GET', resourcePath(resource), { headers: { accept: metadataList } });
    return JSON.parse(body.toString());
  };
  view.watch = <T extends ApiObject>(
    resource: Resource<T>,
    options: SelectOptions & { sendInitialEvents?: boolean; timeoutSeconds?: number } = {},
  ) => watchMetadata<T>(client, resource, options);
  return view;
}

async function* watchMetadata<T extends ApiObject>(
  client: ApiClient,
  resource: Resource<T>,
  options: SelectOptions & { sendInitialEvents?: boolean; timeoutSeconds?: number },
): AsyncIterable<WatchEvent<T>> {
  const { resourceVersion, sendInitialEvents, timeoutSeconds, signal } = options;
  const parts = ['watch=1', 'allowWatchBookmarks=true'];
  if (resourceVersion) parts.push(`resourceVersion=${resourceVersion}`);
  if (sendInitialEvents) parts.push('sendInitialEvents=true', 'resourceVersionMatch=NotOlderThan');
  if (timeoutSeconds) parts.push(`timeoutSeconds=${timeoutSeconds}`);
  const path = `${resourcePath(resource)}?${parts.join('&')}`;
  const message = await client.stream('GET', path, {
    headers: { accept: metadataOnly },
    ...(signal ? { signal } : {}),
  });
  try {
    for await (const line of readLines(message)) {
      const event = JSON.parse(line) as WatchEvent<T>;
      if (event.type === 'ERROR') throw new ApiError(event.object as never);
      yield event;
    }
  } catch (error) {
    throw signal?.aborted ? signal.reason : error;
  } finally {
    message.destroy();
  }
}
