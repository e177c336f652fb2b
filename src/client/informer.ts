import { type ApiObject, objectKey, type Resource } from '../api/index.ts';
import { Backoff, type Clock, systemClock } from '../async/index.ts';
import type { Logger } from '../log/index.ts';
import type { ApiClient, SelectOptions } from './api-client.ts';
import { ApiError, isExpired } from './api-error.ts';

/** What an informer watches and whom it tells. */
export interface InformerOptions<T> {
  namespace?: string;
  labelSelector?: string;
  fieldSelector?: string;
  /** Called after the cache has changed. `now` is undefined for a deletion, `before` for something new. Must not throw. */
  onChange?: (key: string, now: T | undefined, before: T | undefined) => void;
  /** Indexes: an object's values, by which byIndex() finds it. */
  indexes?: Record<string, (object: T) => string[]>;
  log?: Logger;
  clock?: Clock;
}

/** A local copy of the objects of a resource, kept up to date by a watch. */
export interface Informer<T> {
  /** Begins to watch; ends with the signal or stop(). */
  start(signal?: AbortSignal): void;
  stop(): void;
  /** Resolves when the cache holds everything that was there at the start. */
  readonly synced: Promise<void>;
  readonly isSynced: boolean;
  get(key: string): T | undefined;
  list(): T[];
  byIndex(index: string, value: string): T[];
  /** Adds another listener; it is not told of what is there already. Returns how to remove it. */
  subscribe(onChange: NonNullable<InformerOptions<T>['onChange']>): () => void;
}

/**
 * Makes an informer. It asks for a watch that begins with everything there is (WatchList); a server that refuses gets a
 * list and then a watch. Lost connections are taken up at the last known resourceVersion; after 410 everything is read
 * again and compared, so that no deletion is lost.
 */
export function createInformer<T extends ApiObject>(
  client: ApiClient,
  resource: Resource<T>,
  options: InformerOptions<T> = {},
): Informer<T> {
  return new WatchingInformer(client, resource, options);
}

/** Servers end watches after a while by themselves; asking for a time spreads reconnections. */
const watchSeconds = { least: 300, spread: 300 };

/** A watch that ends sooner counts as a failure, milliseconds. */
const shortWatchMs = 1_000;

class WatchingInformer<T extends ApiObject> implements Informer<T> {
  readonly synced: Promise<void>;
  isSynced = false;
  readonly #client: ApiClient;
  readonly #resource: Resource<T>;
  readonly #options: InformerOptions<T>;
  readonly #select: SelectOptions;
  readonly #clock: Clock;
  readonly #backoff: Backoff;
  readonly #objects = new Map<string, T>();
  readonly #indexes = new Map<string, Map<string, Set<string>>>();
  readonly #listeners = new Set<NonNullable<InformerOptions<T>['onChange']>>();
  readonly #stop = new AbortController();
  #markSynced: () => void = () => {};
  #version = '';
  #watchList = true;
  #started = false;

  constructor(client: ApiClient, resource: Resource<T>, options: InformerOptions<T>) {
    this.#client = client;
    this.#resource = resource;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#backoff = new Backoff({ initialMs: 50, maximumMs: 2_000, resetAfterMs: 20_000 }, this.#clock);
    const { namespace, labelSelector, fieldSelector } = options;
    this.#select = {
      ...(namespace ? { namespace } : {}),
      ...(labelSelector ? { labelSelector } : {}),
      ...(fieldSelector ? { fieldSelector } : {}),
    };
    if (options.onChange) this.#listeners.add(options.onChange);
    for (const name of Object.keys(options.indexes ?? {})) this.#indexes.set(name, new Map());
    this.synced = new Promise((resolve) => {
      this.#markSynced = resolve;
    });
  }

  start(signal?: AbortSignal): void {
    if (this.#started) return;
    this.#started = true;
    signal?.addEventListener('abort', () => this.stop(), { once: true });
    if (signal?.aborted) this.stop();
    void this.#run();
  }
  stop(): void {
    this.#stop.abort(new Error('informer stopped'));
  }
  get(key: string): T | undefined {
    return this.#objects.get(key);
  }
  list(): T[] {
    return [...this.#objects.values()];
  }
  byIndex(index: string, value: string): T[] {
    const keys = this.#indexes.get(index)?.get(value);
    return keys ? [...keys].map((key) => this.#objects.get(key)!) : [];
  }
  subscribe(onChange: NonNullable<InformerOptions<T>['onChange']>): () => void {
    this.#listeners.add(onChange);
    return () => this.#listeners.delete(onChange);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        if (this.#version === '' && !this.#watchList) await this.#list();
        const startedAt = this.#clock.monotonic();
        await this.#watch();
        // A server that ends its watches at once is not well either.
        if (this.#clock.monotonic() - startedAt < shortWatchMs) await this.#pause();
        else this.#backoff.reset('');
      } catch (error) {
        if (signal.aborted) return;
        await this.#onFailure(error);
      }
    }
  }

  /** Decides how to go on after a failed list or watch, and waits a little. */
  async #onFailure(error: unknown): Promise<void> {
    if (isExpired(error)) {
      this.#version = '';
      return;
    }
    if (
      error instanceof ApiError &&
      this.#watchList &&
      this.#version === '' &&
      // 500 is how an API server whose etcd cannot tell the end of the burst says so, within the watch.
      [400, 422, 500].includes(error.code)
    ) {
      this.#watchList = false;
      return;
    }
    this.#options.log?.debug('watch failed', { resource: this.#resource.plural, error });
    await this.#pause();
  }

  /** Waits a little, longer each time; some randomness keeps many watchers from coming back at once. */
  async #pause(): Promise<void> {
    const delayMs = this.#backoff.next('');
    await this.#clock.sleep(delayMs * (0.75 + Math.random() / 2), this.#stop.signal).catch(() => {});
  }

  async #list(): Promise<void> {
    const { items, metadata } = await this.#client.list(this.#resource, { ...this.#select, signal: this.#stop.signal });
    this.#replace(new Map(items.map((item) => [objectKey(item), item])));
    this.#version = metadata.resourceVersion ?? '';
    this.#reportSync();
  }

  async #watch(): Promise<void> {
    const initial = this.#version === '';
    // While the first burst comes in, the objects are collected, then compared with the cache at once.
    let collected: Map<string, T> | undefined = initial ? new Map() : undefined;
    const events = this.#client.watch(this.#resource, {
      ...this.#select,
      ...(initial ? { sendInitialEvents: true } : { resourceVersion: this.#version }),
      timeoutSeconds: watchSeconds.least + Math.floor(Math.random() * watchSeconds.spread),
      signal: this.#stop.signal,
    });
    for await (const { type, object } of events) {
      if (type === 'BOOKMARK') {
        if (collected && object.metadata.annotations?.['k8s.io/initial-events-end'] === 'true') {
          this.#replace(collected);
          collected = undefined;
          this.#version = object.metadata.resourceVersion;
          this.#reportSync();
        } else if (!collected) this.#version = object.metadata.resourceVersion;
        continue;
      }
      const key = objectKey(object);
      if (collected) {
        if (type === 'DELETED') collected.delete(key);
        else collected.set(key, object);
      } else {
        this.#version = object.metadata.resourceVersion;
        this.#set(key, type === 'DELETED' ? undefined : object, object);
      }
    }
    // A server that ends the burst without its bookmark does not know how to: list instead.
    if (collected) this.#watchList = false;
  }

  #replace(objects: Map<string, T>): void {
    for (const key of this.#objects.keys()) if (!objects.has(key)) this.#set(key, undefined);
    for (const [key, object] of objects) {
      const before = this.#objects.get(key);
      if (
        before?.metadata.resourceVersion !== object.metadata.resourceVersion ||
        before.metadata.uid !== object.metadata.uid
      )
        this.#set(key, object);
    }
  }

  /** Changes the cache and tells the listeners; a deletion tells the last known state. */
  #set(key: string, now: T | undefined, last?: T): void {
    const before = this.#objects.get(key);
    if (!now && !before) return;
    if (before) this.#index(key, before, false);
    if (now) {
      this.#objects.set(key, now);
      this.#index(key, now, true);
    } else this.#objects.delete(key);
    for (const listener of this.#listeners) listener(key, now, now ? before : (last ?? before));
  }

  #index(key: string, object: T, add: boolean): void {
    for (const [name, valuesOf] of Object.entries(this.#options.indexes ?? {})) {
      const index = this.#indexes.get(name)!;
      for (const value of valuesOf(object)) {
        const keys = index.get(value);
        if (add) {
          if (keys) keys.add(key);
          else index.set(value, new Set([key]));
        } else if (keys?.delete(key) && keys.size === 0) index.delete(value);
      }
    }
  }

  #reportSync(): void {
    this.isSynced = true;
    this.#markSynced();
  }
}
