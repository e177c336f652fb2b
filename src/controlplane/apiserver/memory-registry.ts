import { randomUUID } from 'node:crypto';
import type { ApiObject } from '../../api/index.ts';
import type { Registry } from './extension-points.ts';

type Callback = Parameters<Registry['subscribe']>[1];

/** A Registry that keeps objects in memory, without rules: for tests of what uses one. */
export class MemoryRegistry implements Registry {
  readonly #objects = new Map<string, ApiObject>();
  readonly #callbacks = new Map<string, Set<Callback>>();
  #revision = 0;

  get<T extends ApiObject>(resource: string, namespace: string, name: string): T | undefined {
    return this.#objects.get(`${resource}|${namespace}|${name}`) as T | undefined;
  }
  list<T extends ApiObject>(resource: string, namespace?: string): T[] {
    const prefix = namespace ? `${resource}|${namespace}|` : `${resource}|`;
    return [...this.#objects].filter(([key]) => key.startsWith(prefix)).map(([, object]) => object as T);
  }
  async create<T extends ApiObject>(resource: string, object: T): Promise<T> {
    const { namespace = '', name = '' } = object.metadata;
    if (this.get(resource, namespace, name)) throw new Error(`${resource} ${namespace}/${name} already exists`);
    const metadata = { ...object.metadata, uid: object.metadata.uid ?? randomUUID() };
    return this.#put(resource, { ...object, metadata }, 'ADDED');
  }
  async update<T extends ApiObject>(
    resource: string,
    namespace: string,
    name: string,
    change: (object: T) => T | undefined,
  ): Promise<T | undefined> {
    const found = this.get<T>(resource, namespace, name);
    if (!found) return undefined;
    const changed = change(structuredClone(found));
    return changed === undefined ? found : this.#put(resource, changed, 'MODIFIED');
  }
  async delete(resource: string, namespace: string, name: string): Promise<void> {
    const found = this.get(resource, namespace, name);
    if (!found) return;
    this.#objects.delete(`${resource}|${namespace}|${name}`);
    this.#tell(resource, 'DELETED', found);
  }
  subscribe(resource: string, callback: Callback): () => void {
    const callbacks = this.#callbacks.get(resource) ?? new Set();
    this.#callbacks.set(resource, callbacks.add(callback));
    return () => callbacks.delete(callback);
  }

  #put<T extends ApiObject>(resource: string, object: T, type: 'ADDED' | 'MODIFIED'): T {
    const { namespace = '', name = '' } = object.metadata;
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#revision) } };
    this.#objects.set(`${resource}|${namespace}|${name}`, stored);
    this.#tell(resource, type, stored);
    return stored;
  }
  #tell(resource: string, type: 'ADDED' | 'MODIFIED' | 'DELETED', object: ApiObject): void {
    for (const callback of this.#callbacks.get(resource) ?? []) callback({ type, object });
  }
}
