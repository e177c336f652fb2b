import { type ApiObject, type Resource, resources } from '../../../api/index.ts';
import { KeyedQueue } from '../../../async/index.ts';
import { createInformer } from '../../../client/index.ts';
import type { Controller, ControllerContext } from '../framework/controller.ts';
import { controllerOfParts } from '../framework/controller.ts';
import { DiscoveryCache, type ServedResource } from '../framework/discovery.ts';
import { Collector } from './collector.ts';
import { OwnerGraph } from './graph.ts';
import { metadataClient } from './metadata-client.ts';

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
/** After a change of custom kinds the server needs a moment to serve them, milliseconds; and a look now and then is safe. */
const newKindMs = 500;
const rediscoverMs = 10 * 60_000;

/** Deletes what has lost its owners, as the owners' deletion policy asks: background, foreground, orphan. */
export function startGarbageCollector(context: ControllerContext): Controller {
  return new GarbageCollector(context);
}

class GarbageCollector implements Controller {
  readonly #context: ControllerContext;
  readonly #graph: OwnerGraph;
  readonly #discovery: DiscoveryCache;
  readonly #byKind: Map<string, Resource<any>>;
  readonly #stop: AbortController;
  readonly #watched: Set<string>;
  readonly #collector: Collector;
  readonly #queue: KeyedQueue;
  readonly #discoveries: KeyedQueue;
  readonly #parts: Controller;

  constructor(context: ControllerContext) {
    this.#context = context;
    this.#graph = new OwnerGraph();
    this.#discovery = new DiscoveryCache(this.#context.client, this.#context.clock);
    this.#byKind = new Map<string, Resource<any>>();
    this.#stop = new AbortController();
    this.#watched = new Set<string>();
    for (const one of Object.values(resources)) this.#remember(one);
    this.#collector = new Collector(this.#context, this.#graph, (apiVersion, kind) =>
      this.#byKind.get(`${apiVersion}/${kind}`),
    );
    this.#queue = new KeyedQueue(
      async (uid) => {
        for (const next of await this.#collector.process(uid)) this.#queue.add(next);
      },
      {
        concurrency: 16,
        clock: this.#context.clock,
        onError: (uid, error) =>
          this.#context.log.debug('collection failed', { uid, name: this.#graph.get(uid)?.name, error }),
      },
    );
    this.#discoveries = new KeyedQueue((_key, signal) => this.#discover(signal), {
      clock: context.clock,
      retryInitialMs: 1_000,
      onError: (_key, error) => context.log.debug('discovery failed', { error }),
    });
    for (const resource of early) this.#watch(resource);
    this.#discoveries.addAfter('all', lateMs);
    this.#parts = controllerOfParts([this.#queue, this.#discoveries], [() => this.#stop.abort(new Error('stopped'))]);
  }
  stop(): Promise<void> {
    return this.#parts.stop();
  }

  /** Takes over a change of an object into the graph, and queues what it affects. */
  #observe(resource: Resource<any>, now: ApiObject | undefined, before: ApiObject | undefined): void {
    const gone = before && before.metadata.uid !== now?.metadata.uid ? before : undefined;
    if (gone) {
      this.#collector.noteGone(gone.metadata.uid);
      for (const { uid } of this.#graph.remove(gone.metadata.uid)) this.#queue.add(uid);
    }
    if (resource.plural === 'customresourcedefinitions') this.#discoveries.addAfter('all', newKindMs);
    if (!now || (before && !gone && sameOwnership(now, before))) return;
    for (const { uid, owners } of this.#graph.set(resource, now)) {
      // An owner that is not known yet may be about to be.
      if (owners.some((owner) => this.#graph.get(owner.uid)?.virtual)) this.#queue.addAfter(uid, strangerMs);
      else this.#queue.add(uid);
    }
  }

  #remember(one: Resource<any>) {
    return this.#byKind.set(`${one.apiVersion}/${one.kind}`, one);
  }

  /** Begins to watch a kind; false when it is watched already or not worth it. */
  #watch(resource: Resource<any>): boolean {
    const key = resource.group ? `${resource.group}/${resource.plural}` : resource.plural;
    if (this.#watched.has(key) || ignored.has(key)) return false;
    this.#watched.add(key);
    this.#remember(resource);
    const shared = this.#context.informers.existing(resource);
    if (shared) {
      shared.subscribe((_key, now, before) => this.#observe(resource, now, before));
      for (const object of shared.informer.list()) this.#observe(resource, object, undefined);
      return false;
    }
    const { log, clock } = this.#context;
    createInformer<ApiObject>(metadataClient(this.#context.client), resource, {
      onChange: (_key, now, before) => this.#observe(resource, now, before),
      log,
      clock,
    }).start(this.#stop.signal);
    return true;
  }

  /** Watches every kind that can be watched and deleted. */
  async #discover(signal: AbortSignal): Promise<void> {
    const { resources: served } = await this.#discovery.get({ fresh: true });
    for (const one of served) {
      // A breath between connections: this must not be felt.
      if (isWatchable(one) && this.#watch(one)) await this.#context.clock.sleep(20, signal);
    }
    this.#discoveries.addAfter('all', rediscoverMs);
  }
}

function isWatchable({ verbs }: ServedResource): boolean {
  return ['list', 'watch', 'delete'].every((verb) => verbs.includes(verb));
}

/** Whether nothing that the collector looks at has changed. */
function sameOwnership({ metadata: a }: ApiObject, { metadata: b }: ApiObject): boolean {
  return (
    a.deletionTimestamp === b.deletionTimestamp &&
    JSON.stringify(a.finalizers) === JSON.stringify(b.finalizers) &&
    JSON.stringify(a.ownerReferences) === JSON.stringify(b.ownerReferences)
  );
}
