import { existsSync, readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { addressInRange } from './up-options.ts';

/**
 * The address by which a node is known: that of the link with the default route; without one (a network namespace
 * with nothing but a loopback) the node's own bridge, which has the first address of the pods' range.
 */
export function findNodeIp(podCidr: string): string {
  const link = defaultRouteLink();
  const address =
    link && networkInterfaces()[link]?.find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
  return address ?? addressInRange(podCidr, 1);
}

/** The link of the IPv4 default route, from the kernel's route table. */
function defaultRouteLink(): string | undefined {
  if (!existsSync('/proc/net/route')) return undefined;
  for (const line of readFileSync('/proc/net/route', 'utf8').split('\n').slice(1)) {
    const [link, destination, , flags] = line.split('\t');
    if (destination === '00000000' && (Number.parseInt(flags ?? '0', 16) & 1) !== 0) return link;
  }
  return undefined;
}
