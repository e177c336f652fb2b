import type { Node, Pod } from '../../api/index.ts';
import { NodeInfo } from './node-info.ts';
import { type AffinityTerm, type PodInfo, podInfoOf } from './pod-info.ts';
import type { VolumeState } from './volume-state.ts';

/** The cluster as the scheduler believes it to be: what the watch says plus pods that are being bound. */
export class ClusterState {
  readonly nodes = new Map<string, NodeInfo>();
  readonly #places = new Map<string, { node: string; assumed: boolean }>();
  readonly #nominated = new Map<string, { node: string; info: PodInfo }>();
  /** Claims and volumes; without it pods' claims are not looked at. */
  volumes: VolumeState | undefined;
  /** Labels of a namespace, for affinity terms that select namespaces. */
  namespaceLabels: (namespace: string) => Record<string, string> | undefined = () => undefined;

  /** The nodes that are really there. */
  liveNodes(): NodeInfo[] {
    return [...this.nodes.values()].filter((info) => info.node);
  }
  setNode(name: string, node: Node | undefined): void {
    const info = this.#info(name);
    info.setNode(node);
    if (!node && info.pods.size === 0) this.nodes.delete(name);
  }
  /** Takes over a pod as the watch shows it. */
  setPod(pod: Pod): void {
    const { uid } = pod.metadata;
    const finished = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
    if (finished) return this.removePod(uid);
    if (!pod.spec.nodeName) return;
    this.#nominated.delete(uid);
    this.#place(podInfoOf(pod), pod.spec.nodeName, false);
  }
  removePod(uid: string): void {
    this.#nominated.delete(uid);
    const place = this.#places.get(uid);
    if (!place) return;
    this.#places.delete(uid);
    const info = this.nodes.get(place.node);
    info?.remove(uid);
    if (info && !info.node && info.pods.size === 0) this.nodes.delete(place.node);
  }
  /** Counts a pod on a node before the API server has said so. */
  assume(info: PodInfo, node: string): void {
    this.#nominated.delete(info.uid);
    this.#place(info, node, true);
  }
  /** Takes back an assumption that did not come true. */
  forget(uid: string): void {
    if (this.#places.get(uid)?.assumed) this.removePod(uid);
  }
  /** Whether the pod has a place, believed or confirmed. */
  has(uid: string): boolean {
    return this.#places.has(uid);
  }
  /** Keeps room on a node for a pod that waits for its victims to leave. */
  nominate(info: PodInfo, node: string | undefined): void {
    if (node) this.#nominated.set(info.uid, { node, info });
    else this.#nominated.delete(info.uid);
  }
  /** The node that was emptied for a pod. */
  nominatedNode(uid: string): string | undefined {
    return this.#nominated.get(uid)?.node;
  }
  /** The node as a pod must see it: with the pods of at least its priority that are promised a place there. */
  withNominated(node: NodeInfo, info: PodInfo): NodeInfo {
    if (this.#nominated.size === 0) return node;
    let view: NodeInfo | undefined;
    for (const { node: name, info: other } of this.#nominated.values()) {
      if (name !== node.name || other.uid === info.uid || other.priority < info.priority) continue;
      view ??= node.clone();
      view.add(other);
    }
    return view ?? node;
  }
  /** Whether an affinity term of a pod speaks of another pod. */
  selects(term: AffinityTerm, other: Pod): boolean {
    const namespace = other.metadata.namespace ?? '';
    const inside =
      term.namespaces.has(namespace) || (term.namespaceSelector?.(this.namespaceLabels(namespace) ?? {}) ?? false);
    return inside && term.matches(other.metadata.labels);
  }

  #place(info: PodInfo, node: string, assumed: boolean): void {
    const before = this.#places.get(info.uid);
    if (before && before.node !== node) this.nodes.get(before.node)?.remove(info.uid);
    this.#info(node).add(info);
    this.#places.set(info.uid, { node, assumed });
  }
  #info(name: string): NodeInfo {
    let info = this.nodes.get(name);
    if (!info) this.nodes.set(name, (info = new NodeInfo(name)));
    return info;
  }
}
