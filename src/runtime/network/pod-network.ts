import type { DNSConfig, PortMapping } from '../../api/cri/index.ts';

/** How a sandbox is attached to the pod network; kept in its record. */
export interface PodAttachment {
  /** What made it: the built-in bridge, or the CNI network of this name. */
  kind: 'bridge' | 'cni';
  networkName: string;
  /** The pod's addresses, the primary first. */
  ips: string[];
  /** The pod's own link. */
  interfaceName: string;
  /** CNI: the result of the last plugin. */
  result?: object;
}

/** A sandbox that wants (or has had) a network. */
export interface PodNetworkRequest {
  sandboxId: string;
  name: string;
  namespace: string;
  uid: string;
  namespacePath: string;
  portMappings: readonly PortMapping[];
  annotations: Readonly<Record<string, string>>;
  dns?: DNSConfig;
  /** The cgroup that was asked for. */
  cgroupParent?: string;
  /** As attached before, when it is. */
  attachment?: PodAttachment;
}

/** What makes the network of pods: the built-in bridge or CNI plugins. */
export interface PodNetwork {
  /** Why pods cannot have a network now; undefined when they can. */
  problem(): Promise<string | undefined>;
  /** Gives a pod a link and addresses; its loopback is up already. Undoes what it did when it fails. */
  attach(request: PodNetworkRequest): Promise<PodAttachment>;
  /** Takes them away; may be called again, for a pod whose attach never ended, and for one that was never attached. */
  detach(request: PodNetworkRequest): Promise<void>;
  /** Removes what belongs to sandboxes that are none of these; what takes long goes on beside the caller. */
  collect(known: readonly PodNetworkRequest[]): Promise<void>;
  /** Removes everything of its own on the host. */
  remove(): Promise<void>;
}
