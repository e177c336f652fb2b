import type { Node } from '../../api/index.ts';
import { type Amounts, amountOf, type HostPort, type PodInfo } from './pod-info.ts';

/** A node with what runs, or is about to run, on it. */
export class NodeInfo {
  readonly name: string;
  /** Undefined while pods name a node that is not there. */
  node: Node | undefined;
  allocatable: Amounts = {};
  readonly requested: Amounts = {};
  readonly assumed = { cpu: 0, memory: 0 };
  readonly pods = new Map<string, PodInfo>();
  /** Pods by the uid of their controller. */
  readonly owners = new Map<string, number>();
  readonly ports = new Map<string, HostPort>();
  /** Names of images on the node, with their sizes in bytes. */
  images = new Map<string, number>();
  /** Pods with required anti-affinity. */
  antiAffinityPods = 0;

  constructor(name: string) {
    this.name = name;
  }
  setNode(node: Node | undefined): void {
    this.node = node;
    this.allocatable = {};
    for (const [name, quantity] of Object.entries(node?.status?.allocatable ?? node?.status?.capacity ?? {})) {
      this.allocatable[name] = amountOf(name, quantity);
    }
    this.images = new Map(
      (node?.status?.images ?? []).flatMap((image) => (image.names ?? []).map((name) => [name, image.sizeBytes ?? 0])),
    );
  }
  add(info: PodInfo): void {
    this.remove(info.uid);
    this.pods.set(info.uid, info);
    this.#count(info, 1);
    for (const port of info.ports) this.ports.set(`${info.uid}/${port.ip}/${port.protocol}/${port.port}`, port);
  }
  remove(uid: string): PodInfo | undefined {
    const info = this.pods.get(uid);
    if (!info) return undefined;
    this.pods.delete(uid);
    this.#count(info, -1);
    for (const port of info.ports) this.ports.delete(`${uid}/${port.ip}/${port.protocol}/${port.port}`);
    return info;
  }
  /** A copy whose pods can be taken away without touching the original. */
  clone(): NodeInfo {
    const copy = new NodeInfo(this.name);
    copy.node = this.node;
    copy.allocatable = this.allocatable;
    copy.images = this.images;
    for (const info of this.pods.values()) copy.add(info);
    return copy;
  }
  #count(info: PodInfo, sign: 1 | -1): void {
    for (const [name, amount] of Object.entries(info.requests)) {
      this.requested[name] = (this.requested[name] ?? 0) + sign * amount;
    }
    this.assumed.cpu += sign * info.assumed.cpu;
    this.assumed.memory += sign * info.assumed.memory;
    if (info.antiAffinity.length > 0) this.antiAffinityPods += sign;
    if (info.owner) {
      const count = (this.owners.get(info.owner) ?? 0) + sign;
      if (count > 0) this.owners.set(info.owner, count);
      else this.owners.delete(info.owner);
    }
  }
}
