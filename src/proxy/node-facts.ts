import { type Node, resources } from '../api/index.ts';
import type { Clock } from '../async/index.ts';
import { type ApiClient, createInformer } from '../client/index.ts';
import type { Logger } from '../log/index.ts';

/** What the proxy needs to know of its own Node object. */
export interface NodeFacts {
  zone: string;
  addresses: readonly string[];
  podCidrs: readonly string[];
  /** There, not being deleted, and not about to be taken away by an autoscaler. */
  eligible: boolean;
}

/** Without a Node object to watch: the node counts as usable. */
export const unknownNode: NodeFacts = { zone: '', addresses: [], podCidrs: [], eligible: true };

const zoneLabel = 'topology.kubernetes.io/zone';
const deletionTaint = 'ToBeDeletedByClusterAutoscaler';

/** The facts of a Node object; undefined: there is none. */
export function readNode(node: Node | undefined): NodeFacts {
  if (!node) return { ...unknownNode, eligible: false };
  return {
    zone: node.metadata.labels?.[zoneLabel] ?? '',
    addresses: (node.status?.addresses ?? []).filter((one) => one.type === 'InternalIP').map((one) => one.address),
    podCidrs: node.spec?.podCIDRs ?? (node.spec?.podCIDR ? [node.spec.podCIDR] : []),
    eligible:
      node.metadata.deletionTimestamp === undefined && !node.spec?.taints?.some((taint) => taint.key === deletionTaint),
  };
}

/** Watches the own Node object. */
export interface NodeSource {
  start(onChange: (facts: NodeFacts) => void): void;
  readonly synced: Promise<void>;
  stop(): void;
}

/** The Node object of an API server, and no other: rights to read one's own are enough. */
export function watchNode(client: ApiClient, nodeName: string, context: { log: Logger; clock: Clock }): NodeSource {
  let tell: (facts: NodeFacts) => void = () => {};
  const informer = createInformer(client, resources.nodes, {
    fieldSelector: `metadata.name=${nodeName}`,
    onChange: (_key, now) => tell(readNode(now)),
    ...context,
  });
  return {
    start: (onChange) => {
      tell = onChange;
      informer.start();
    },
    // One that is not registered yet tells nothing by itself.
    synced: informer.synced.then(() => tell(readNode(informer.get(nodeName)))),
    stop: () => informer.stop(),
  };
}
