import type { ApiObject, OwnerReference, Resource } from '../../../api/index.ts';
import { isConflict, isNotFound } from '../../../client/index.ts';
import type { ControllerContext } from '../framework/controller.ts';
import { blocks, type GraphNode, type OwnerGraph } from './graph.ts';

/** What the collector does to the cluster, as the graph tells. */
export class Collector {
  readonly #context: ControllerContext;
  readonly #graph: OwnerGraph;
  readonly #resourceOf: (apiVersion: string, kind: string) => Resource<any> | undefined;
  /** uids of owners that were asked for and are not there. */
  readonly #absent = new Set<string>();

  constructor(
    context: ControllerContext,
    graph: OwnerGraph,
    resourceOf: (apiVersion: string, kind: string) => Resource<any> | undefined,
  ) {
    this.#context = context;
    this.#graph = graph;
    this.#resourceOf = resourceOf;
  }

  /** Notes that an object was seen to be deleted; it will not come back. */
  noteGone(uid: string): void {
    this.#absent.add(uid);
    if (this.#absent.size > 4096) this.#absent.delete(this.#absent.values().next().value!);
  }

  /** Does what is due for one object. Gives the uids to look at next. */
  async process(uid: string): Promise<string[]> {
    const node = this.#graph.get(uid);
    if (!node) return [];
    if (node.virtual) return this.#confirmVirtual(node);
    if (node.orphan) return this.#orphanDependents(node);
    if (node.foreground) {
      const next = await this.#finishForeground(node);
      if (node.owners.length === 0) return next;
    } else if (node.deleting) return [];
    return this.#deleteIfUnowned(node);
  }

  /** An owner that nobody has seen: its dependents go when it is not there. */
  async #confirmVirtual(node: GraphNode): Promise<string[]> {
    return [...node.dependents].map(({ uid }) => uid);
  }

  async #deleteIfUnowned(node: GraphNode): Promise<string[]> {
    if (node.owners.length === 0 || !node.resource || this.#isOwned(node)) return [];
    const sorted = await this.#sortOwners(node);
    const { solid, dangling, waiting } = sorted;
    if (solid.length > 0) {
      // Owners that are gone, or that only wait for us to let go, are taken off the list.
      const gone = [...dangling, ...waiting];
      if (gone.length > 0) await this.#dropOwners(node, new Set(gone.map(({ uid }) => uid)));
      return [];
    }
    if (waiting.length > 0 && node.dependents.size > 0) {
      // A cycle of owners that wait for each other would never end: the blocking marks go first.
      const circular = [...node.dependents].some(
        (dependent) => dependent.foreground || waiting.some(({ uid }) => uid === dependent.uid),
      );
      if (circular) await this.#unblockOwners(node);
      await this.#delete(node, 'Foreground');
      return [];
    }
    const policy = node.orphan ? 'Orphan' : node.foreground ? 'Foreground' : 'Background';
    await this.#delete(node, policy);
    return [];
  }

  /** Whether every owner is known to be there and to stay: nothing has to be asked. */
  #isOwned(node: GraphNode): boolean {
    return node.owners.every(({ uid }) => {
      const owner = this.#graph.get(uid);
      return owner !== undefined && !owner.virtual && !owner.foreground;
    });
  }

  async #sortOwners(node: GraphNode): Promise<Record<'solid' | 'dangling' | 'waiting', OwnerReference[]>> {
    const sorted: Record<'solid' | 'dangling' | 'waiting', OwnerReference[]> = { solid: [], dangling: [], waiting: [] };
    for (const owner of node.owners) {
      const live = await this.#lookUp(owner, node.namespace);
      if (live === 'unknown') sorted.solid.push(owner);
      else if (!live) sorted.dangling.push(owner);
      else if (live.metadata.deletionTimestamp && live.metadata.finalizers?.includes('foregroundDeletion'))
        sorted.waiting.push(owner);
      else sorted.solid.push(owner);
    }
    return sorted;
  }

  /** The owner as it is now; undefined when it is not there, 'unknown' for a type that is not served. */
  async #lookUp(owner: OwnerReference, namespace: string): Promise<ApiObject | undefined | 'unknown'> {
    if (this.#absent.has(owner.uid)) return undefined;
    const known = this.#graph.get(owner.uid);
    const resource = known?.resource ?? this.#resourceOf(owner.apiVersion, owner.kind);
    if (!resource) return 'unknown';
    if (resource.namespaced && namespace === '') return this.#tellInvalid(owner);
    try {
      const live = await this.#context.client.get<ApiObject>(
        resource,
        owner.name,
        resource.namespaced ? { namespace } : {},
      );
      if (live.metadata.uid === owner.uid) return live;
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    this.noteGone(owner.uid);
    return undefined;
  }
  /** A cluster-wide object cannot be owned by something inside a namespace: it is left alone. */
  #tellInvalid(owner: OwnerReference): 'unknown' {
    this.#context.log.debug('owner reference out of a namespace', { kind: owner.kind, name: owner.name });
    return 'unknown';
  }

  async #finishForeground(node: GraphNode): Promise<string[]> {
    const blocking = [...node.dependents].filter((dependent) => blocks(dependent, node.uid));
    if (blocking.length === 0) {
      await this.#removeFinalizer(node, 'foregroundDeletion');
      return [];
    }
    // Those that are going by themselves in the foreground are already on their way.
    return blocking.filter(({ deleting }) => !deleting).map(({ uid }) => uid);
  }

  async #orphanDependents(node: GraphNode): Promise<string[]> {
    await Promise.all([...node.dependents].map((dependent) => this.#dropOwners(dependent, new Set([node.uid]))));
    await this.#removeFinalizer(node, 'orphan');
    return [];
  }

  async #dropOwners(node: GraphNode, gone: ReadonlySet<string>): Promise<void> {
    await this.#change(node, (object) => {
      const before = object.metadata.ownerReferences ?? [];
      const after = before.filter(({ uid }) => !gone.has(uid));
      return after.length === before.length ? undefined : { ownerReferences: after };
    });
  }
  async #unblockOwners(node: GraphNode): Promise<void> {
    await this.#change(node, (object) => ({
      ownerReferences: (object.metadata.ownerReferences ?? []).map((owner) => ({
        ...owner,
        blockOwnerDeletion: false,
      })),
    }));
  }
  async #removeFinalizer(node: GraphNode, name: string): Promise<void> {
    await this.#change(node, (object) => {
      const before = object.metadata.finalizers ?? [];
      return before.includes(name) ? { finalizers: before.filter((one) => one !== name) } : undefined;
    });
  }

  /** Reads, changes and writes metadata; again when someone else wrote in between. */
  async #change(node: GraphNode, change: (object: ApiObject) => object | undefined): Promise<void> {
    const { resource, namespace, name, uid } = node;
    if (!resource) return;
    const where = resource.namespaced ? { namespace } : {};
    for (let attempt = 0; ; attempt++) {
      try {
        const object = await this.#context.client.get<ApiObject>(resource, name, where);
        const patch = object.metadata.uid === uid ? change(object) : undefined;
        if (!patch) return;
        const { resourceVersion } = object.metadata;
        await this.#context.client.patch(
          resource,
          name,
          { metadata: { uid, resourceVersion, ...patch } },
          { ...where, type: 'merge' },
        );
        return;
      } catch (error) {
        if (isNotFound(error)) return;
        if (!isConflict(error) || attempt >= 5) throw error;
      }
    }
  }

  async #delete(node: GraphNode, propagationPolicy: string): Promise<void> {
    const { resource, namespace, name, uid } = node;
    const where = resource!.namespaced ? { namespace } : {};
    try {
      const live = await this.#context.client.get<ApiObject>(resource!, name, where);
      if (live.metadata.uid !== uid) return;
      const { resourceVersion } = live.metadata;
      const policy = live.metadata.finalizers?.includes('orphan') ? 'Orphan' : propagationPolicy;
      await this.#context.client.delete(resource!, name, { ...where, uid, resourceVersion, propagationPolicy: policy });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}
