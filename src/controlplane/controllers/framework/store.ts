import { type ApiObject, controllerOf, type Draft, objectKey, type Resource } from '../../../api/index.ts';
import type { Clock } from '../../../async/index.ts';
import { type ApiClient, type Informer, isNotFound } from '../../../client/index.ts';

/** The indexes that every store has (those without a controller are under owner ''). */
export const storeIndexes = {
  namespace: (object: ApiObject) => [object.metadata.namespace ?? ''],
  owner: (object: ApiObject) => {
    const owner = controllerOf(object);
    return [owner?.uid ?? ''];
  },
};

/** How long our own write may hide what the watch says, milliseconds; a lost watch must not make it permanent. */
const trustMs = 60_000;

interface OwnWrite<T> {
  object: T;
  at: number;
  /** Holds until the watch shows the deletion, whatever the version. */
  deleting: boolean;
}

/**
 * The objects of one resource: what the watch has told, overlaid with what we wrote and the watch has not told yet.
 * A handler that runs again before its own creations come back through the watch therefore does not create them twice.
 */
export class Store<T extends ApiObject> {
  readonly resource: Resource<T>;
  readonly informer: Informer<T>;
  readonly #client: ApiClient;
  readonly #clock: Clock;
  readonly #indexes: Record<string, (object: T) => string[]>;
  readonly #own = new Map<string, OwnWrite<T>>();
  /** Recently deleted uids: a creation whose deletion was seen before its answer must not come back. */
  readonly #gone = new Set<string>();

  constructor(
    client: ApiClient,
    resource: Resource<T>,
    informer: Informer<T>,
    indexes: Record<string, (object: T) => string[]>,
    clock: Clock,
  ) {
    this.#client = client;
    this.resource = resource;
    this.informer = informer;
    this.#indexes = indexes;
    this.#clock = clock;
    informer.subscribe((key, now, before) => this.#settle(key, now, before));
  }

  get(key: string): T | undefined {
    const own = this.#ownOf(key);
    return own ? own.object : this.informer.get(key);
  }
  list(): T[] {
    return this.#overlay(this.informer.list(), () => true);
  }
  /** Objects whose index has the value: `namespace`, `owner` (uid of the controller), and what the resource adds. */
  by(index: string, value: string): T[] {
    const valuesOf = this.#indexes[index]!;
    return this.#overlay(this.informer.byIndex(index, value), (object) => valuesOf(object).includes(value));
  }
  /** Tells of changes of the watch (not of own writes). Returns how to stop it. */
  subscribe(onChange: (key: string, now: T | undefined, before: T | undefined) => void): () => void {
    return this.informer.subscribe(onChange);
  }

  async create(draft: Draft<T>, signal?: AbortSignal): Promise<T> {
    const created = await this.#client.create(this.resource, draft, signal ? { signal } : {});
    this.noteWritten(created);
    return created;
  }
  async update(object: T, options: { subresource?: string; signal?: AbortSignal } = {}): Promise<T> {
    const written = await this.#client.update(this.resource, object, options);
    this.noteWritten(written);
    return written;
  }
  async patch(
    key: { namespace?: string; name: string },
    patch: object,
    options: { type?: 'merge' | 'json' | 'strategic'; subresource?: string; signal?: AbortSignal } = {},
  ): Promise<T> {
    const { namespace, name } = key;
    const written = await this.#client.patch(this.resource, name, patch, {
      type: options.type ?? 'merge',
      ...(namespace ? { namespace } : {}),
      ...(options.subresource ? { subresource: options.subresource } : {}),
      ...(options.signal ? { signal: options.signal } : {}),
    });
    this.noteWritten(written);
    return written;
  }
  /** Deletes this very object (by uid). One that is gone already is no error. */
  async delete(
    object: T,
    options: { gracePeriodSeconds?: number; propagationPolicy?: string; signal?: AbortSignal } = {},
  ): Promise<void> {
    const { namespace, name, uid } = object.metadata;
    try {
      await this.#client.delete(this.resource, name, { ...(namespace ? { namespace } : {}), uid, ...options });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    const deletionTimestamp = new Date(this.#clock.now()).toISOString().replace(/\.\d+Z$/, 'Z');
    const key = objectKey(object);
    const cached = this.informer.get(key);
    if (cached?.metadata.uid !== uid || cached.metadata.deletionTimestamp) return;
    const deleted = { ...cached, metadata: { ...cached.metadata, deletionTimestamp } };
    this.#own.set(key, { object: deleted, at: this.#clock.monotonic(), deleting: true });
  }

  /** Notes the answer of a write, so that it is seen before the watch brings it. */
  noteWritten(object: T): void {
    if (this.#gone.has(object.metadata.uid)) return;
    const key = objectKey(object);
    const cached = this.informer.get(key);
    if (cached && versionOf(cached) >= versionOf(object)) return;
    object.apiVersion ??= this.resource.apiVersion;
    object.kind ??= this.resource.kind;
    this.#own.set(key, { object, at: this.#clock.monotonic(), deleting: false });
  }

  #ownOf(key: string): OwnWrite<T> | undefined {
    const own = this.#own.get(key);
    if (own && this.#clock.monotonic() - own.at > trustMs) {
      this.#own.delete(key);
      return undefined;
    }
    return own;
  }
  #overlay(cached: T[], belongs: (object: T) => boolean): T[] {
    if (this.#own.size === 0) return cached;
    const result = cached.filter((object) => !this.#ownOf(objectKey(object)));
    for (const key of [...this.#own.keys()]) {
      const own = this.#ownOf(key);
      if (own && belongs(own.object)) result.push(own.object);
    }
    return result;
  }
  #settle(key: string, now: T | undefined, before: T | undefined): void {
    const own = this.#own.get(key);
    if (!now) {
      if (before) this.#remember(before.metadata.uid);
      if (own && (!before || own.object.metadata.uid === before.metadata.uid)) this.#own.delete(key);
      return;
    }
    if (!own) return;
    const same = own.object.metadata.uid === now.metadata.uid;
    if (!same || now.metadata.deletionTimestamp) this.#own.delete(key);
    else if (!own.deleting && versionOf(now) >= versionOf(own.object)) this.#own.delete(key);
  }
  #remember(uid: string): void {
    this.#gone.add(uid);
    if (this.#gone.size > 4096) this.#gone.delete(this.#gone.values().next().value!);
  }
}

/** The store-wide revision of an object; later writes have greater ones. */
export function versionOf(object: ApiObject): number {
  return Number(object.metadata.resourceVersion ?? 0);
}
