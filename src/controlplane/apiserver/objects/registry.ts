import type { ApiObject } from '../../../api/index.ts';
import { objectOf } from '../../store/index.ts';
import type { Caller, Core } from '../core.ts';
import type { Registry } from '../extension-points.ts';
import type { ResourceInfo } from '../resource-table.ts';
import { StatusError } from '../status-error.ts';
import { createObject } from './create.ts';
import { deleteObject } from './delete.ts';
import { updateObject } from './update.ts';

/** The server itself, past admission and validation. */
const internal: Caller = {
  user: { username: 'system:apiserver', groups: ['system:masters', 'system:authenticated'] },
  dryRun: false,
  fieldManager: 'deckhand',
  options: {},
  internal: true,
};

/** The server's own way to its objects. What get and list return is shared and must not be changed. */
export function createRegistry(core: () => Core): Registry {
  const infoOf = (resource: string): ResourceInfo => {
    const info = core().resources.withKey(resource);
    if (!info) throw new Error(`no resource ${resource}`);
    return info;
  };
  return {
    get<T extends ApiObject>(resource: string, namespace: string, name: string): T | undefined {
      const info = infoOf(resource);
      const stored = core().store.getHead(info.key, info.namespaced ? namespace : '', name);
      return stored && objectOf(stored);
    },
    list<T extends ApiObject>(resource: string, namespace?: string): T[] {
      const scope = namespace === '' ? undefined : namespace;
      return core().store.collection(infoOf(resource).key).list(scope).map(objectOf);
    },
    async create<T extends ApiObject>(resource: string, object: T): Promise<T> {
      const info = infoOf(resource);
      const namespace = info.namespaced ? (object.metadata.namespace ?? 'default') : '';
      return objectOf(await createObject(core(), info, namespace, structuredClone(object), internal));
    },
    update: (resource, namespace, name, change) => updateInternally(core(), infoOf(resource), namespace, name, change),
    async delete(resource, namespace, name, options = {}): Promise<void> {
      const info = infoOf(resource);
      const request = { info, namespace: info.namespaced ? namespace : '', name, caller: internal, ...options };
      try {
        await deleteObject(core(), request);
      } catch (error) {
        if (!(error instanceof StatusError) || error.code !== 404) throw error;
      }
    },
    subscribe(resource, callback) {
      return core()
        .store.collection(infoOf(resource).key)
        .subscribe((changes) => {
          for (const change of changes) callback({ type: change.type, object: objectOf(change.now) });
        });
    },
  };
}

async function updateInternally<T extends ApiObject>(
  core: Core,
  info: ResourceInfo,
  namespace: string,
  name: string,
  change: (object: T) => T | undefined,
): Promise<T | undefined> {
  const request = {
    info,
    namespace: info.namespaced ? namespace : '',
    name,
    subresource: '*',
    caller: internal,
    change: (current: T) => change(current) ?? current,
  };
  try {
    return objectOf(await updateObject(core, request));
  } catch (error) {
    if (error instanceof StatusError && error.code === 404) return undefined;
    throw error;
  }
}
