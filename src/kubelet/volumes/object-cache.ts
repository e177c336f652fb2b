import { type ApiObject, type ConfigMap, type Resource, resources, type Secret } from '../../api/index.ts';
import { type Clock, DeadlineError, withDeadline } from '../../async/index.ts';
import { type ApiClient, createInformer, type Informer } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';

/** One watched object and the pods that use it. */
interface Watched {
  informer: Informer<ApiObject>;
  users: Set<string>;
}

/** How long an object without users stays watched, milliseconds: the next pod of the same kind is often not far. */
const lingerMs = 30_000;

/** How long the first answer about an object may take, milliseconds. */
const firstAnswerMs = 30_000;

/**
 * ConfigMaps and Secrets that pods on this node refer to: one watch per object for as long as a pod uses it, so that the
 * kubelet reads nothing else and hears of changes at once.
 */
export class ObjectCache {
  readonly #client: ApiClient | undefined;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #onChange: (podUids: string[]) => void;
  readonly #watched = new Map<string, Watched>();

  constructor(
    client: ApiClient | undefined,
    options: { log: Logger; clock: Clock; onChange: (podUids: string[]) => void },
  ) {
    this.#client = client;
    this.#log = options.log;
    this.#clock = options.clock;
    this.#onChange = options.onChange;
  }

  configMap(podUid: string, namespace: string, name: string): Promise<ConfigMap | undefined> {
    return this.#get(resources.configmaps, podUid, namespace, name);
  }
  secret(podUid: string, namespace: string, name: string): Promise<Secret | undefined> {
    return this.#get(resources.secrets, podUid, namespace, name);
  }

  /** The pod uses nothing any more; objects that stay without users are no longer watched. */
  release(podUid: string): void {
    for (const [key, watched] of this.#watched) {
      if (!watched.users.delete(podUid) || watched.users.size > 0) continue;
      this.#clock.after(lingerMs, () => {
        if (watched.users.size > 0 || this.#watched.get(key) !== watched) return;
        watched.informer.stop();
        this.#watched.delete(key);
      });
    }
  }

  stop(): void {
    for (const { informer } of this.#watched.values()) informer.stop();
    this.#watched.clear();
  }

  async #get<T extends ApiObject>(
    resource: Resource<T>,
    podUid: string,
    namespace: string,
    name: string,
  ): Promise<T | undefined> {
    if (!this.#client) throw new Error(`a pod without an API server cannot use ${resource.plural} "${name}"`);
    const key = `${resource.plural}/${namespace}/${name}`;
    let watched = this.#watched.get(key);
    if (!watched) {
      const users = new Set<string>();
      const informer = createInformer(this.#client, resource as Resource<ApiObject>, {
        namespace,
        fieldSelector: `metadata.name=${name}`,
        onChange: () => this.#onChange([...users]),
        log: this.#log,
        clock: this.#clock,
      });
      watched = { informer, users };
      this.#watched.set(key, watched);
      informer.start();
    }
    watched.users.add(podUid);
    const { informer } = watched;
    if (!informer.isSynced) {
      await withDeadline(`reading ${resource.plural} "${name}"`, firstAnswerMs, () => informer.synced, {
        clock: this.#clock,
      }).catch((error: unknown) => {
        throw error instanceof DeadlineError
          ? new Error(`failed to sync ${resource.kind.toLowerCase()} cache: timed out waiting for the condition`)
          : error;
      });
    }
    return informer.get(`${namespace}/${name}`) as T | undefined;
  }
}
