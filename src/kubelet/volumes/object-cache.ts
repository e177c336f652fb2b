import { type ApiObject, type ConfigMap, type Resource, resources, type Secret } from '../../api/index.ts';
import { type Clock, DeadlineError, withDeadline } from '../../async/index.ts';
import { type ApiClient, createInformer, type Informer, isNotFound } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';

/** configMapAndSecretChangeDetectionStrategy. */
export type ChangeDetection = 'Watch' | 'Cache' | 'Get';

/** One watched object and the pods that use it. */
interface Watched {
  informer: Informer<ApiObject>;
  users: Set<string>;
  /** The object, once it says that it never changes: it is not watched any longer. */
  immutable?: ApiObject;
}

/** One object that was read, with the strategy Cache. */
interface Cached {
  object: Promise<ApiObject | undefined>;
  readAt: number;
  users: Set<string>;
}

/** How long an object that was read counts as current with the strategy Cache, milliseconds. */
const cacheMs = 60_000;

/** How long an object without users stays watched, milliseconds: the next pod of the same kind is often not far. */
const lingerMs = 30_000;

/** How long the first answer about an object may take, milliseconds. */
const firstAnswerMs = 30_000;

/**
 * ConfigMaps and Secrets that pods on this node refer to. By default one watch per object for as long as a pod uses it, so
 * that the kubelet reads nothing else and hears of changes at once; an object that calls itself immutable is read once.
 * With Get each look is a request; with Cache what was read is current for a minute, and a new pod reads anew.
 */
export class ObjectCache {
  readonly #client: ApiClient | undefined;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #onChange: (podUids: string[]) => void;
  readonly #watched = new Map<string, Watched>();
  readonly #cached = new Map<string, Cached>();
  readonly #strategy: ChangeDetection;

  constructor(
    client: ApiClient | undefined,
    options: { log: Logger; clock: Clock; strategy?: ChangeDetection; onChange: (podUids: string[]) => void },
  ) {
    this.#client = client;
    this.#strategy = options.strategy ?? 'Watch';
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
    for (const [key, { users }] of this.#cached) {
      if (users.delete(podUid) && users.size === 0) this.#cached.delete(key);
    }
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
    if (this.#strategy !== 'Watch') return (await this.#read(resource, podUid, key)) as T | undefined;
    let watched = this.#watched.get(key);
    if (!watched) {
      const users = new Set<string>();
      const informer = createInformer(this.#client, resource as Resource<ApiObject>, {
        namespace,
        fieldSelector: `metadata.name=${name}`,
        onChange: (_key, now) => {
          this.#keepImmutable(key, now);
          this.#onChange([...users]);
        },
        log: this.#log,
        clock: this.#clock,
      });
      watched = { informer, users };
      this.#watched.set(key, watched);
      informer.start();
    }
    watched.users.add(podUid);
    if (watched.immutable) return watched.immutable as T;
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

  /** An object that never changes need not be watched. */
  #keepImmutable(key: string, object: ApiObject | undefined): void {
    const watched = this.#watched.get(key);
    if (!watched || watched.immutable || !(object as { immutable?: boolean } | undefined)?.immutable) return;
    watched.immutable = object!;
    watched.informer.stop();
  }

  /** Asks the API server, or with Cache remembers what it said not long ago. */
  async #read(resource: Resource<ApiObject>, podUid: string, key: string): Promise<ApiObject | undefined> {
    const [, namespace = '', name = ''] = key.split('/');
    const now = this.#clock.monotonic();
    const known = this.#cached.get(key);
    if (known?.users.has(podUid) && now - known.readAt < cacheMs) return known.object;
    const object = this.#client!.get(resource, name, { namespace }).catch((error: unknown) => {
      if (!isNotFound(error)) throw error;
      return undefined;
    });
    if (this.#strategy === 'Get') return object;
    const users = (known?.users ?? new Set()).add(podUid);
    this.#cached.set(key, { object, readAt: now, users });
    // What failed, or is not there yet, is not worth remembering.
    object.then(
      (one) => one ?? this.#cached.delete(key),
      () => this.#cached.delete(key),
    );
    return object;
  }
}
