import { type ApiObject, type Resource, resources, type Service } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import { type ApiClient, createInformer, isNotFound } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';
import type { ObjectReader } from '../pods/kit.ts';

/** Reads the objects that pods refer to; reads of the same object at the same time share one request. */
export function createObjectReader(
  client: ApiClient | undefined,
  options: { clock: Clock; log: Logger; signal: AbortSignal },
): ObjectReader {
  if (!client) {
    const nothing = async () => undefined;
    return { configMap: nothing, secret: nothing, runtimeClass: nothing, services: async () => [] };
  }
  const pending = new Map<string, Promise<unknown>>();
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
      .catch((error: unknown) => {
        if (isNotFound(error)) return undefined;
        throw error;
      })
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
    services: async () => {
      await services.synced;
      return services.list();
    },
  };
}
