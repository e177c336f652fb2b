import { closeSync, openSync, writeFileSync } from 'node:fs';
import { inNetworkNamespace } from '../../../host/namespaces/index.ts';
import {
  addAddress,
  addRoute,
  changeBridgePort,
  changeLink,
  createLink,
  deleteNeighbour,
  findLink,
  ipToBytes,
  isNetlinkError,
  limitRate,
  NetlinkSocket,
  type Rate,
  redirectIncoming,
  setNeighbour,
} from '../../../host/netlink/index.ts';
import type { Bandwidth } from '../bandwidth.ts';

/** The link inside a pod. */
export const podLinkName = 'eth0';

/** The bridge that a pod's link is plugged into. */
export interface BridgeEnd {
  index: number;
  hardwareAddress: string;
  mtu: number;
}

/** A pod's end: its addresses, each with its gateway. */
export interface PodEnd {
  sandboxId: string;
  namespacePath: string;
  addresses: readonly { address: string; gateway: string }[];
}

/** How a link is marked that no pod has any more. */
export const released = 'released';

/** Names of a pod's links on the host: at most 15 characters. */
export const hostLinkName = (sandboxId: string): string => `dh${sandboxId.slice(0, 12)}`;
/** Of the link by which what the pod sends is limited. */
export const shaperName = (sandboxId: string): string => `di${sandboxId.slice(0, 12)}`;

/** The hardware address that goes with an IP address, so that one never has two: what others remember stays true. */
export function hardwareAddressOf(ip: string): string {
  return Buffer.concat([Buffer.from([0x0a, 0x58]), ipToBytes(ip).subarray(-4)])
    .toString('hex')
    .replace(/..(?=.)/g, '$&:');
}

/**
 * Makes the pair of links and everything inside the pod. About half a millisecond. Addresses can be used at once, also
 * IPv6 ones: nobody is asked whether they are taken, and nobody needs to ask for hardware addresses.
 * @throws NetlinkError; then what was made may be there still
 */
export function createPodLink(bridge: BridgeEnd, pod: PodEnd): void {
  const { addresses, namespacePath } = pod;
  const { mtu } = bridge;
  const hardwareAddress = hardwareAddressOf(addresses[0]!.address);
  const hasIpv6 = addresses.some(({ address }) => address.includes(':'));
  if (hasIpv6) inNetworkNamespace(namespacePath, prepareIpv6);
  using host = new NetlinkSocket({ protocol: 'route' });
  const namespaceFd = openSync(namespacePath, 'r');
  try {
    const name = hostLinkName(pod.sandboxId);
    const peer = { name: podLinkName, mtu, namespaceFd, address: hardwareAddress };
    createLink(host, { kind: 'veth', name, master: bridge.index, mtu, up: true, peer });
  } finally {
    closeSync(namespaceFd);
  }
  // Where bridge netfilter is on, it turns a packet that a pod sent to a Service of itself round inside the bridge.
  changeBridgePort(host, findLink(host, hostLinkName(pod.sandboxId))!.index, { hairpin: true });
  using inside = new NetlinkSocket({ protocol: 'route', namespace: namespacePath });
  const { index } = findLink(inside, podLinkName)!;
  for (const { address } of addresses) addAddress(inside, index, address);
  changeLink(inside, index, { up: true });
  for (const { address, gateway } of addresses) {
    setNeighbour(inside, { link: index, address: gateway, hardwareAddress: bridge.hardwareAddress });
    addRoute(inside, { link: index, destination: gateway });
    addRoute(inside, { link: index, gateway });
    setNeighbour(host, { link: bridge.index, address, hardwareAddress });
  }
}

/**
 * Lets go of a pod's links. They end with the pod's network namespace: removing a link here would hold this thread up
 * for some 25 ms, until no processor can see it any more; the kernel does the same for a namespace that nobody uses,
 * beside us. Nothing there is no error.
 */
export function releasePodLink(sandboxId: string, addresses: readonly string[], bridgeIndex: number): void {
  using host = new NetlinkSocket({ protocol: 'route' });
  const link = findLink(host, hostLinkName(sandboxId));
  // From now on the pod has no network, whoever keeps its namespace.
  try {
    if (link && link.alias !== released) changeLink(host, link.index, { master: 0, alias: released });
  } catch (error) {
    // It has gone meanwhile, with its namespace.
    if (!isNetlinkError(error, 'ENODEV')) throw error;
  }
  if (bridgeIndex === 0) return;
  for (const address of addresses) {
    try {
      deleteNeighbour(host, bridgeIndex, address);
    } catch (error) {
      // The bridge is gone, and with it its neighbours.
      if (!isNetlinkError(error, 'ENODEV', 'EINVAL')) throw error;
    }
  }
}

/** New links of this namespace use their addresses at once, listen to no router, and have IPv6 whatever the host has. */
function prepareIpv6(): void {
  for (const [name, value] of [
    ['accept_dad', '0'],
    ['accept_ra', '0'],
    ['disable_ipv6', '0'],
  ] as const)
    writeFileSync(`/proc/sys/net/ipv6/conf/default/${name}`, value);
}

/**
 * Limits how fast a pod receives (where its link on the host sends) and sends (by a link in between that sends what
 * comes in). @throws Error when the kernel cannot
 */
export function shapePodLink(sandboxId: string, { ingress, egress }: Bandwidth): void {
  using host = new NetlinkSocket({ protocol: 'route' });
  const { index, mtu } = findLink(host, hostLinkName(sandboxId))!;
  try {
    if (ingress !== undefined) limitRate(host, index, toRate(ingress));
    if (egress === undefined) return;
    const name = shaperName(sandboxId);
    createLink(host, { kind: 'ifb', name, mtu, up: true });
    const shaper = findLink(host, name)!.index;
    limitRate(host, shaper, toRate(egress));
    redirectIncoming(host, index, shaper);
  } catch (cause) {
    if (!isNetlinkError(cause, 'ENOENT', 'ENOTSUP', 'EOPNOTSUPP')) throw cause;
    throw new Error(
      `the kernel cannot limit bandwidth (${cause.message}): it needs sch_tbf, sch_ingress, cls_matchall or cls_u32, act_mirred and ifb; or remove the pod's bandwidth annotations`,
      { cause },
    );
  }
}

/** A tenth of a second's worth may go at once, and no less than what one write of a program makes. */
function toRate(bitsPerSecond: number): Rate {
  return { bitsPerSecond, burstBytes: Math.max(64 * 1024, Math.ceil(bitsPerSecond / 8 / 10)), latencyMs: 50 };
}
