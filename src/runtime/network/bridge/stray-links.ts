import {
  deleteLinkOnThread,
  deleteNeighbour,
  type Link,
  listLinks,
  listNeighbours,
  type NetlinkSocket,
} from '../../../host/netlink/index.ts';
import type { Logger } from '../../../log/index.ts';
import { hostLinkName, released, shaperName } from './pod-link.ts';

/**
 * Removes links and neighbours of pods that are no more: of calls that were cut off, and of pods in whose namespace
 * somebody still is. `pods` are those that have theirs rightly, with their addresses.
 */
export async function removeStrayLinks(
  socket: NetlinkSocket,
  options: { bridge: Link | undefined; pods: ReadonlyMap<string, readonly string[]>; log: Logger },
): Promise<void> {
  const { bridge, pods, log } = options;
  const wanted = new Set([...pods.keys()].flatMap((id) => [hostLinkName(id), shaperName(id)]));
  const links = listLinks(socket).filter(({ name }) => !wanted.has(name));
  const pairs = links.filter((link) => isStrayPair(link, bridge));
  // A shaper belongs to the link of the same pod, which was made before it and says whose it is.
  const kept = new Set(links.filter((link) => !pairs.includes(link)).map(({ name }) => name));
  const shapers = links.filter(
    ({ name, kind }) => kind === 'ifb' && /^di[0-9a-f]{12}$/.test(name) && !kept.has(`dh${name.slice(2)}`),
  );
  if (bridge) removeStrayNeighbours(socket, bridge.index, new Set([...pods.values()].flat()));
  const stray = [...pairs, ...shapers];
  for (const { index } of stray) await deleteLinkOnThread(index);
  if (stray.length > 0) log.info('links of forgotten sandboxes removed', { count: stray.length });
}

function isStrayPair({ name, kind, master, alias }: Link, bridge: Link | undefined): boolean {
  if (kind !== 'veth' || !/^dh[0-9a-f]{12}$/.test(name)) return false;
  return alias === released || (bridge !== undefined && master === bridge.index);
}

function removeStrayNeighbours(socket: NetlinkSocket, bridgeIndex: number, addresses: ReadonlySet<string>): void {
  for (const { address, permanent } of listNeighbours(socket, bridgeIndex))
    if (permanent && !addresses.has(address) && isPodAddress(address)) deleteNeighbour(socket, bridgeIndex, address);
}

/** The kernel keeps neighbours of its own, for multicast and broadcast. */
const isPodAddress = (address: string): boolean => !/^(ff|fe80:|22[4-9]\.|23\d\.|255\.)/.test(address);
