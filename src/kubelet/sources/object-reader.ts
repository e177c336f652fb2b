import { type ApiObject, type Resource, resources, type Service } from '../../api/index.ts';
import { type Clock, withDeadline } from '../../async/index.ts';
import { type ApiClient, ApiError, createInformer, isNotFound } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';
import type { ObjectReader } from '../pods/kit.ts';
import { isStaticPod } from '../pods/names.ts';

/** How many objects are remembered for when the API cannot be asked. */
const mostKept = 2000;

/** How long an answer is waited for, milliseconds: not long when there is one from before. */
const patience = { knownMs: 2000, unknownMs: 60_000 };

/** Reads objects, and remembers what was said of them. */
class RememberedObjects {
  readonly #client: ApiClient;
  readonly #options: { clock: Clock; signal: AbortSignal };
  readonly #pending = new Map<string, Promise<unknown>>();
  readonly #kept = new Map<string, ApiObject>();

  constructor(client: ApiClient, options: { clock: Clock; signal: AbortSignal }) {
    this.#client = client;
    this.#options = options;
  }

  /** The object as it is, or (while the API does not answer) as it was; undefined when there is none. */
  read<T extends ApiObject>(resource: Resource<T>, namespace: string, name: string): Promise<T | undefined> {
    const key = `${resource.plural}/${namespace}/${name}`;
    const shared = this.#pending.get(key) as Promise<T | undefined> | undefined;
    if (shared) return shared;
    const request = withDeadline(
      `the answer of the API about ${resource.plural} ${name}`,
      this.#kept.has(key) ? patience.knownMs : patience.unknownMs,
      (signal) => this.#client.get(resource, name, { ...(namespace ? { namespace } : {}), signal }),
      this.#options,
    )
      .then(
        (object) => this.#keep(key, object),
        (error: unknown) => {
          if (isNotFound(error)) return this.#keep<T>(key, undefined);
          const known = this.#kept.get(key) as T | undefined;
          // What the API forbids is no outage.
          if (known && !(error instanceof ApiError && error.code < 500)) return known;
          throw error;
        },
      )
      .finally(() => this.#pending.delete(key));
    this.#pending.set(key, request);
    return request;
  }

  #keep<T extends ApiObject>(key: string, object: T | undefined): T | undefined {
    this.#kept.delete(key);
    if (object) this.#kept.set(key, object);
    if (this.#kept.size > mostKept) this.#kept.delete(this.#kept.keys().next().value!);
    return object;
  }
}

/**
 * Reads the objects that pods refer to; reads of the same object at the same time share one request. While the API does not
 * answer, what it said last of an object stands: containers can be restarted although it is away.
 */
export function createObjectReader(
  client: ApiClient | undefined,
  options: { clock: Clock; log: Logger; signal: AbortSignal },
): ObjectReader {
  if (!client) {
    const nothing = async () => undefined;
    return { configMap: nothing, secret: nothing, runtimeClass: nothing, services: async () => [] };
  }
  const objects = new RememberedObjects(client, options);
  const services = createInformer<Service>(client, resources.services, { log: options.log, clock: options.clock });
  services.start(options.signal);
  return {
    configMap: (namespace, name) => objects.read(resources.configmaps, namespace, name),
    secret: (namespace, name) => objects.read(resources.secrets, namespace, name),
    runtimeClass: (name) => objects.read(resources.runtimeclasses, '', name),
    services: async (pod) => {
      if (!isStaticPod(pod)) await services.synced;
      return services.list();
    },
  };
}
