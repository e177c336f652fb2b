import { type Node, resources } from '../../../api/index.ts';
import {
  type Controller,
  type ControllerContext,
  controllerOfParts,
  createControllerQueue,
} from '../framework/controller.ts';
import { formatCidr, freeRange, parseCidr } from './cidr.ts';

/** Where the pods' addresses come from. */
export interface NodeIpamOptions {
  /** The range of all pods; two, separated by a comma, for dual stack. */
  podCidr: string;
  /** Length of a node's IPv4 prefix. Default 24. */
  maskV4?: number;
  /** Length of a node's IPv6 prefix. Default 64. */
  maskV6?: number;
}

/** Gives every node its own part of the pods' addresses. */
export function startNodeIpamController(context: ControllerContext, options: NodeIpamOptions): Controller {
  const { podCidr, maskV4 = 24, maskV6 = 64 } = options;
  const wholes = podCidr.split(',').map(parseCidr);
  const nodes = context.informers.store<Node>(resources.nodes);
  const events = context.events('cidrAllocator');
  const queue = createControllerQueue(context, {
    name: 'node-ipam',
    stores: [nodes],
    // One at a time: the next must see what this one took.
    concurrency: 1,
    handle: async (name) => {
      const node = nodes.get(name);
      if (!node || node.spec?.podCIDR) return;
      const used = nodes
        .list()
        .flatMap(({ spec }) => (spec?.podCIDRs ?? (spec?.podCIDR ? [spec.podCIDR] : [])).map(parseCidr));
      const ranges = wholes.map((whole) => freeRange(whole, whole.bits === 32 ? maskV4 : maskV6, used));
      if (ranges.some((range) => range === undefined)) {
        events.event(node, 'Normal', 'CIDRNotAvailable', `Node ${name} status is now: CIDRNotAvailable`);
        queue.addAfter(name, 30_000);
        return;
      }
      const podCIDRs = ranges.map((range) => formatCidr(range!));
      const { resourceVersion } = node.metadata;
      await nodes.patch({ name }, { metadata: { resourceVersion }, spec: { podCIDR: podCIDRs[0], podCIDRs } });
    },
  });
  const end = nodes.subscribe((key, now) => now && !now.spec?.podCIDR && queue.add(key));
  return controllerOfParts([queue], [end]);
}
