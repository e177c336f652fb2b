import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import {
  addAddress,
  addRoute,
  changeLink,
  createLink,
  deleteAddress,
  findLink,
  isNetlinkError,
  type Link,
  listAddresses,
  listRoutes,
  type NetlinkSocket,
} from '../../../host/netlink/index.ts';
import type { AddressPool } from './address-pool.ts';
import { hardwareAddressOf } from './pod-link.ts';

/** What a bridge that we made is marked with: its addresses are ours to change, and it is ours to remove. */
const mark = 'pod network of deckhand';

/** Whether we made the link. */
export const isOurs = ({ alias }: Link): boolean => alias === mark;

/**
 * Makes the bridge what it should be: there, up, with the gateway of each range, and packets forwarded.
 * @throws Error naming what the kernel refused
 */
export function ensureBridgeLink(
  socket: NetlinkSocket,
  bridge: { name: string; mtu: number | undefined; pools: readonly AddressPool[]; loopback6: boolean },
): Link {
  const { name, pools } = bridge;
  const mtu = bridge.mtu ?? uplinkMtu(socket) ?? 1500;
  const families = new Set(pools.map(({ family }) => family));
  if (families.has(6) && !existsSync('/proc/sys/net/ipv6'))
    throw new Error('the pods have an IPv6 range, but this kernel has no IPv6: leave that range out');
  // A hardware address of its own, so that it does not change with its ports.
  const address = hardwareAddressOf(pools[0]!.gateway);
  try {
    if (!findLink(socket, name)) createLink(socket, { kind: 'bridge', name, mtu, address });
  } catch (error) {
    if (!isNetlinkError(error, 'EEXIST')) throw error;
  }
  const link = findLink(socket, name)!;
  if (link.kind !== 'bridge') throw new Error(`there is a link "${name}" that is no bridge: choose another name`);
  if (link.address === address || isOurs(link)) {
    // Only a second request sets an alias, so it may also be missing on a bridge that was just made when we were killed.
    changeLink(socket, link.index, { alias: mark, mtu });
    Object.assign(link, { alias: mark, mtu });
  }
  writeSettings(name, families);
  changeLink(socket, link.index, { up: true });
  setAddresses(socket, link, pools);
  if (families.has(6) && bridge.loopback6) addLoopbackRoute(socket, link.index);
  return link;
}

/** The largest packet of the way to the outside; undefined without one. */
function uplinkMtu(socket: NetlinkSocket): number | undefined {
  const links = ([4, 6] as const)
    .flatMap((family) => listRoutes(socket, { family }))
    .filter(({ destination, link }) => destination === undefined && link !== undefined)
    .map(({ link }) => findLink(socket, link!)?.mtu ?? 0)
    .filter((mtu) => mtu >= 1280);
  return links.length > 0 ? Math.min(...links) : undefined;
}

function setAddresses(socket: NetlinkSocket, link: Link, pools: readonly AddressPool[]): void {
  const wanted = new Set(pools.map(({ gateway, prefixLength }) => `${gateway}/${prefixLength}`));
  const global = 0;
  const there = listAddresses(socket, undefined, link.index)
    .filter((one) => one.scope === global)
    .map(({ address, prefixLength }) => `${address}/${prefixLength}`);
  for (const address of wanted)
    if (!there.includes(address)) addAddress(socket, link.index, address, { replace: true });
  if (isOurs(link)) for (const address of there) if (!wanted.has(address)) deleteAddress(socket, link.index, address);
}

/** Answers to what was sent from [::1] come in here; the kernel wants a route that says so. IPv4's is route_localnet. */
function addLoopbackRoute(socket: NetlinkSocket, link: number): void {
  const [localTable, kernelFirst] = [255, 2048];
  const route = { destination: '::1/128', link, table: localTable, priority: kernelFirst, type: 'local' } as const;
  addRoute(socket, route, { replace: true });
}

function writeSettings(bridge: string, families: ReadonlySet<4 | 6>): void {
  const four = '/proc/sys/net/ipv4';
  setSysctl(`${four}/ip_forward`, '1');
  // Packets between pods leave by the link on which they came; the kernel would tell the pods of a shorter way.
  for (const link of ['all', bridge]) setSysctl(`${four}/conf/${link}/send_redirects`, '0');
  if (!families.has(6)) return;
  const six = '/proc/sys/net/ipv6/conf';
  setSysctl(`${six}/${bridge}/disable_ipv6`, '0');
  setSysctl(`${six}/${bridge}/accept_ra`, '0');
  setSysctl(`${six}/${bridge}/accept_dad`, '0');
  if (readFileSync(`${six}/all/forwarding`, 'utf8').trim() !== '0') return;
  // A machine that forwards listens to no router: without this it would lose its own way out.
  for (const link of readdirSync(six))
    if (link !== bridge && readFileSync(`${six}/${link}/accept_ra`, 'utf8').trim() === '1')
      setSysctl(`${six}/${link}/accept_ra`, '2');
  setSysctl(`${six}/all/forwarding`, '1');
}

/** Writes a setting unless it has the value, which it may on a machine that lets nobody write. */
export function setSysctl(path: string, value: string): void {
  if (readFileSync(path, 'utf8').trim() !== value) writeFileSync(path, value);
}

/**
 * Whether connections to [::1] can be sent to pods. Not while bridged IPv6 packets pass netfilter: the answer would have
 * its address put back to [::1] before the kernel looks at it, and be dropped as forged.
 */
export function canUseLoopback6(): boolean {
  try {
    return readFileSync('/proc/sys/net/bridge/bridge-nf-call-ip6tables', 'utf8').trim() === '0';
  } catch {
    return true;
  }
}
