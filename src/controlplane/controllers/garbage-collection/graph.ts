import type { ApiObject, OwnerReference, Resource } from '../../../api/index.ts';

/** An object as the collector knows it. */
export interface GraphNode {
  uid: string;
  resource: Resource<any> | undefined;
  namespace: string;
  name: string;
  owners: readonly OwnerReference[];
  dependents: Set<GraphNode>;
  deleting: boolean;
  /** Its finalizers ask to wait for, or to let go of, its dependents. */
  foreground: boolean;
  orphan: boolean;
  /** Known only because someone names it as owner; whether it exists has to be asked. */
  virtual: boolean;
  /** The API type that names a virtual node. */
  reference: { apiVersion: string; kind: string } | undefined;
}

/** Who owns whom, by uid. */
export class OwnerGraph {
  readonly #nodes = new Map<string, GraphNode>();

  get(uid: string): GraphNode | undefined {
    return this.#nodes.get(uid);
  }
  get size(): number {
    return this.#nodes.size;
  }

  /** Takes over an object. Gives the nodes that must be looked at: itself, its dependents, or owners it let go of. */
  set(resource: Resource<any>, object: ApiObject): GraphNode[] {
    const { uid, namespace = '', name, ownerReferences = [], finalizers = [], deletionTimestamp } = object.metadata;
    const known = this.#nodes.get(uid);
    const node = known ?? this.#add(uid);
    const before = { deleting: node.deleting, foreground: node.foreground, orphan: node.orphan };
    Object.assign(node, { resource, namespace, name, virtual: false, reference: undefined });
    node.deleting = deletionTimestamp !== undefined;
    node.foreground = node.deleting && finalizers.includes('foregroundDeletion');
    node.orphan = node.deleting && finalizers.includes('orphan');
    const affected = this.#setOwners(node, namespace, ownerReferences);
    const changed =
      !known ||
      before.foreground !== node.foreground ||
      before.orphan !== node.orphan ||
      before.deleting !== node.deleting;
    if (changed && (node.foreground || node.orphan)) affected.push(node);
    // A dependent that begins to go may be what an owner waits for; its own dependents may have to go first.
    if (changed && node.foreground) affected.push(...node.dependents);
    return affected;
  }

  /** Takes note that an object is gone. Gives its dependents, and the owners that may have waited for it. */
  remove(uid: string): GraphNode[] {
    const node = this.#nodes.get(uid);
    if (!node) return [];
    const affected: GraphNode[] = [...node.dependents];
    for (const owner of this.#ownersOf(node)) {
      owner.dependents.delete(node);
      if (owner.foreground) affected.push(owner);
      if (owner.virtual && owner.dependents.size === 0) this.#nodes.delete(owner.uid);
    }
    if (node.dependents.size === 0) this.#nodes.delete(uid);
    else
      Object.assign(node, {
        virtual: true,
        owners: [],
        deleting: true,
        foreground: false,
        orphan: false,
        resource: undefined,
      });
    return affected;
  }

  #setOwners(node: GraphNode, namespace: string, owners: readonly OwnerReference[]): GraphNode[] {
    const affected: GraphNode[] = [];
    const uids = new Set(owners.map(({ uid }) => uid));
    for (const before of this.#ownersOf(node)) {
      if (uids.has(before.uid)) continue;
      before.dependents.delete(node);
      if (before.foreground) affected.push(before);
      if (before.virtual && before.dependents.size === 0) this.#nodes.delete(before.uid);
    }
    for (const { uid, apiVersion, kind, name } of owners) {
      let owner = this.#nodes.get(uid);
      if (!owner) {
        owner = this.#add(uid);
        Object.assign(owner, { virtual: true, name, namespace, reference: { apiVersion, kind } });
      }
      if (!owner.dependents.has(node)) {
        owner.dependents.add(node);
        if ((owner.virtual || owner.foreground) && !affected.includes(node)) affected.push(node);
      }
    }
    const blocked = (list: readonly OwnerReference[]) =>
      list.filter(({ blockOwnerDeletion }) => blockOwnerDeletion).map(({ uid }) => uid);
    const unblocked = blocked(node.owners).filter((uid) => !blocked(owners).includes(uid));
    node.owners = owners;
    for (const uid of unblocked) {
      const owner = this.#nodes.get(uid);
      if (owner?.foreground) affected.push(owner);
    }
    return affected;
  }
  #ownersOf(node: GraphNode): GraphNode[] {
    return node.owners.flatMap(({ uid }) => this.#nodes.get(uid) ?? []);
  }
  #add(uid: string): GraphNode {
    const node: GraphNode = {
      uid,
      resource: undefined,
      namespace: '',
      name: '',
      owners: [],
      dependents: new Set(),
      deleting: false,
      foreground: false,
      orphan: false,
      virtual: false,
      reference: undefined,
    };
    this.#nodes.set(uid, node);
    return node;
  }
}

/** Whether the dependent stands in the way of an owner that is deleted in the foreground. */
export function blocks(dependent: GraphNode, ownerUid: string): boolean {
  return dependent.owners.some(({ uid, blockOwnerDeletion }) => uid === ownerUid && blockOwnerDeletion === true);
}
