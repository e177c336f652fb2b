import { ConntrackSocket } from '../../../host/conntrack/index.ts';
import { listAddresses, NetlinkSocket } from '../../../host/netlink/index.ts';
import type { HostPort } from './host-ports.ts';

const udp = 17;

/**
 * Forgets tracked UDP flows that the change of host ports has made wrong. UDP has no end of its own: a client that keeps
 * sending would go on to a pod that is gone, or to the node itself though a pod has the port now.
 *
 * - `to pods`: the ports are gone; flows that lead to their pods.
 * - `to the node`: the ports are new; flows that were sent to nobody else but the node.
 */
export function forgetFlows(ports: readonly HostPort[], which: 'to pods' | 'to the node'): void {
  const own = ports.filter(({ protocol }) => protocol === 'udp');
  if (own.length === 0) return;
  const socket = new ConntrackSocket();
  try {
    for (const family of new Set(own.map((port) => port.family))) {
      const numbers = new Set(own.map(({ hostPort }) => hostPort));
      const pods = new Set(own.map(({ podAddress }) => podAddress));
      const node = which === 'to the node' ? nodeAddresses(family) : undefined;
      for (const flow of socket.list({ family, protocol: udp })) {
        const { original, reply } = flow;
        if (!numbers.has(original.destinationPort)) continue;
        const isWrong = node
          ? reply.source === original.destination && node.has(original.destination)
          : pods.has(reply.source);
        if (isWrong) socket.delete(flow);
      }
    }
  } finally {
    socket.close();
  }
}

function nodeAddresses(family: 4 | 6): Set<string> {
  using socket = new NetlinkSocket({ protocol: 'route' });
  return new Set(listAddresses(socket, family).map(({ address }) => address));
}
