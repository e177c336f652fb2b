import { type ApiObject, type Resource, resources, type Service } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import { type ApiClient, ApiError, createInformer, isNotFound } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';
import type { ObjectReader } from '../pods/kit.ts';
import { isStaticPod } from '../pods/names.ts';

/** How many objects are remembered for when the API cannot be asked. */
const mostKept = 2000;

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
  const pending = new Map<string, Promise<unknown>>();
  const kept = new Map<string, ApiObject>();
  const keep = (key: string, object: ApiObject | undefined): void => {
    kept.delete(key);
    if (!object) return;
    kept.set(key, object);
    if (kept.size > mostKept) kept.delete(kept.keys().next().value!);
  };
  const read = <T extends ApiObject>(
    resource: Resource<T>,
    namespace: string,
    name: string,
  ): Promise<T | undefined> => {
    const key = `${resource.plural}/${namespace}/${name}`;
    const shared = pending.get(key) as Promise<T | undefined> | undefined;
    if (shared) return shared;
    const request = client
      .get(resource, name, { ...(namespace ? { namespace } : {}), signal: options.signal })
      .then(
        (object) => {
          keep(key, object);
          return object;
        },
        (error: unknown) => {
          if (isNotFound(error)) {
            keep(key, undefined);
            return undefined;
          }
          const known = kept.get(key) as T | undefined;
          // What the API forbids is no outage.
          if (known && !(error instanceof ApiError && error.code < 500)) return known;
          throw error;
        },
      )
      .finally(() => pending.delete(key));
    pending.set(key, request);
    return request;
  };
  const services = createInformer<Service>(client, resources.services, { log: options.log, clock: options.clock });
  services.start(options.signal);
  return {
    configMap: (namespace, name) => read(resources.configmaps, namespace, name),
    secret: (namespace, name) => read(resources.secrets, namespace, name),
    runtimeClass: (name) => read(resources.runtimeclasses, '', name),
    services: async (pod) => {
      if (!isStaticPod(pod)) await services.synced;
      return services.list();
    },
  };
}
