import { StoreError } from './store-error.ts';

/** One object as it is kept: serialized once. */
export interface Stored {
  namespace: string;
  name: string;
  revision: number;
  /** JSON with apiVersion, kind and resourceVersion. */
  bytes: Buffer;
  /** Parsed; made when first needed. Never to be changed: take a copy by parsing the bytes. */
  object?: any;
}

/** The parsed object; shared, not to be changed. */
export function objectOf(stored: Stored): any {
  return (stored.object ??= JSON.parse(stored.bytes.toString()));
}

/** One committed change. */
export interface StoreChange {
  type: 'ADDED' | 'MODIFIED' | 'DELETED';
  revision: number;
  /** Milliseconds since 1970. */
  at: number;
  resource: string;
  /** After the change; of a deletion the last state, with the deletion's revision. */
  now: Stored;
  before: Stored | undefined;
}

/** All objects of one resource and their recent changes. */
export class Collection {
  readonly resource: string;
  /** namespace → name → object. */
  readonly #namespaces = new Map<string, Map<string, Stored>>();
  readonly #sorted = new Map<string, Stored[]>();
  #size = 0;
  #changes: StoreChange[] = [];
  #start = 0;
  readonly #subscribers = new Set<(changes: readonly StoreChange[]) => void>();

  constructor(resource: string) {
    this.resource = resource;
  }

  get size(): number {
    return this.#size;
  }

  get(namespace: string, name: string): Stored | undefined {
    return this.#namespaces.get(namespace)?.get(name);
  }

  /** Every object of the namespace (all namespaces when undefined), by namespace and name. Not to be changed. */
  list(namespace?: string): readonly Stored[] {
    const key = namespace === undefined ? '*' : `=${namespace}`;
    let sorted = this.#sorted.get(key);
    if (!sorted) {
      sorted =
        namespace === undefined
          ? [...this.#namespaces.values()].flatMap((names) => [...names.values()])
          : [...(this.#namespaces.get(namespace)?.values() ?? [])];
      sorted.sort(byKey);
      this.#sorted.set(key, sorted);
    }
    return sorted;
  }

  /** The objects as they were at a revision that is still in the history. */
  listAt(revision: number, namespace?: string): readonly Stored[] {
    const later = this.changesAfter(revision);
    if (later.length === 0) return this.list(namespace);
    const state = new Map(this.list(namespace).map((stored) => [`${stored.namespace}/${stored.name}`, stored]));
    for (const { now, before } of later.toReversed()) {
      if (namespace !== undefined && now.namespace !== namespace) continue;
      if (before) state.set(`${now.namespace}/${now.name}`, before);
      else state.delete(`${now.namespace}/${now.name}`);
    }
    return [...state.values()].sort(byKey);
  }

  /** Committed changes after the revision, as far as they are kept (the store knows from where they are complete). */
  changesAfter(revision: number): StoreChange[] {
    let low = this.#start;
    let high = this.#changes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#changes[middle]!.revision > revision) high = middle;
      else low = middle + 1;
    }
    return this.#changes.slice(low);
  }

  /** Calls back with the changes of every commit. Returns how to stop. */
  subscribe(callback: (changes: readonly StoreChange[]) => void): () => void {
    this.#subscribers.add(callback);
    return () => this.#subscribers.delete(callback);
  }

  /** For the store: takes in a committed change. */
  apply(change: StoreChange): void {
    if (change.type === 'DELETED') this.#remove(change.now);
    else this.restore(change.now);
    this.#changes.push(change);
  }

  /** For the store: takes in an object without a change. */
  restore(stored: Stored): void {
    const { namespace, name } = stored;
    let names = this.#namespaces.get(namespace);
    if (!names) this.#namespaces.set(namespace, (names = new Map()));
    if (!names.has(name)) this.#size++;
    names.set(name, stored);
    this.#sorted.delete('*');
    this.#sorted.delete(`=${namespace}`);
  }

  #remove({ namespace, name }: Stored): void {
    const names = this.#namespaces.get(namespace);
    if (!names?.delete(name)) return;
    this.#size--;
    if (names.size === 0) this.#namespaces.delete(namespace);
    this.#sorted.delete('*');
    this.#sorted.delete(`=${namespace}`);
  }

  /** For the store: drops changes up to the revision. */
  forget(revision: number): void {
    while (this.#start < this.#changes.length && this.#changes[this.#start]!.revision <= revision) {
      this.#changes[this.#start] = undefined as unknown as StoreChange;
      this.#start++;
    }
    if (this.#start > 1024 && this.#start * 2 > this.#changes.length) {
      this.#changes = this.#changes.slice(this.#start);
      this.#start = 0;
    }
  }

  /** For the store: tells the subscribers. */
  notify(changes: readonly StoreChange[]): void {
    for (const subscriber of this.#subscribers) subscriber(changes);
  }
}

function byKey(a: Stored, b: Stored): number {
  if (a.namespace !== b.namespace) return a.namespace < b.namespace ? -1 : 1;
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

/** @throws StoreError COMPACTED or FUTURE when changes after the revision cannot be told completely */
export function checkRevision(store: { revision: number; compacted: number }, revision: number): void {
  if (revision < store.compacted) {
    throw new StoreError('COMPACTED', `too old resource version: ${revision} (${store.compacted})`);
  }
  if (revision > store.revision) {
    throw new StoreError('FUTURE', `Too large resource version: ${revision}, current: ${store.revision}`);
  }
}
