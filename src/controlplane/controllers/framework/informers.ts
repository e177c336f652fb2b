import type { ApiObject, Pod, Resource } from '../../../api/index.ts';
import type { Clock } from '../../../async/index.ts';
import { type ApiClient, createInformer } from '../../../client/index.ts';
import type { Logger } from '../../../log/index.ts';
import { Store, storeIndexes } from './store.ts';

/** Indexes beside those of every store. */
const moreIndexes: Record<string, Record<string, (object: any) => string[]>> = {
  pods: { node: (pod: Pod) => [pod.spec.nodeName ?? ''] },
  endpointslices: { service: (slice: ApiObject) => [serviceKeyOfSlice(slice) ?? ''] },
};

/** The Service of an EndpointSlice as `namespace/name`. */
export function serviceKeyOfSlice(slice: ApiObject): string | undefined {
  const service = slice.metadata.labels?.['kubernetes.io/service-name'];
  return service ? `${slice.metadata.namespace}/${service}` : undefined;
}

/** One watch and one cache per resource, shared by everything that runs in this process. Starts a watch when first asked. */
export class Informers {
  readonly #client: ApiClient;
  readonly #stores = new Map<string, Store<any>>();
  readonly #stop = new AbortController();
  readonly #log: Logger;
  readonly #clock: Clock;

  constructor(client: ApiClient, context: { log: Logger; clock: Clock }) {
    this.#client = client;
    this.#log = context.log;
    this.#clock = context.clock;
  }

  /** The store of a resource. */
  store<T extends ApiObject>(resource: Resource<T>): Store<T> {
    const key = `${resource.group}/${resource.plural}`;
    const known = this.#stores.get(key);
    if (known) return known;
    const indexes = { ...storeIndexes, ...moreIndexes[resource.plural] };
    const informer = createInformer(this.#client, resource, { indexes, log: this.#log, clock: this.#clock });
    const store = new Store<T>(this.#client, resource, informer, indexes, this.#clock);
    this.#stores.set(key, store);
    informer.start(this.#stop.signal);
    return store;
  }
  /** Whether a resource is watched already, and its store if so. */
  existing(resource: { group: string; plural: string }): Store<any> | undefined {
    return this.#stores.get(`${resource.group}/${resource.plural}`);
  }
  /** Resolves when everything asked for so far is in the caches. */
  async synced(): Promise<void> {
    await Promise.all([...this.#stores.values()].map((store) => store.informer.synced));
  }
  stop(): void {
    this.#stop.abort(new Error('informers stopped'));
  }
}
