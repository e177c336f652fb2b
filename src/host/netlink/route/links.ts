import { isNetlinkError } from '../errors.ts';
import { attributeString, type MessageWriter, messageFlag, type NetlinkMessage, readAttributes } from '../message.ts';
import { NetlinkSocket } from '../socket.ts';
import {
  bridgePortAttribute,
  family,
  ipv6LinkAttribute,
  linkAttribute,
  linkFlag,
  linkInfoAttribute,
  routeMessage,
  vethPeer,
} from './constants.ts';

/** A link as the kernel lists it. */
export interface Link {
  index: number;
  name: string;
  /** `veth`, `bridge`, `vxlan`…; empty for plain devices. */
  kind: string;
  up: boolean;
  loopback: boolean;
  mtu: number;
  /** Hardware address as `aa:bb:cc:dd:ee:ff`; empty without one. */
  address: string;
  /** Index of the bridge it is a port of; 0 without. */
  master: number;
  /** Index of the other end (veth) or the link below; 0 without. */
  peer: number;
  /** A description that somebody gave it; empty without. */
  alias: string;
  statistics: LinkStatistics;
}

/** What a link has counted since it was made. */
export interface LinkStatistics {
  rxBytes: bigint;
  txBytes: bigint;
  rxErrors: bigint;
  txErrors: bigint;
  rxPackets: bigint;
  txPackets: bigint;
  rxDropped: bigint;
  txDropped: bigint;
}

/** What a new link is made of. */
export type NewLink = {
  name: string;
  mtu?: number;
  address?: string;
  up?: boolean;
  master?: number;
} & (
  | { kind: 'bridge' | 'dummy' | 'ifb' }
  | { kind: 'veth'; peer: { name: string; namespaceFd?: number; mtu?: number; address?: string; up?: boolean } }
);

/** What can be changed of a link. */
export interface LinkChange {
  up?: boolean;
  name?: string;
  mtu?: number;
  /** Hardware address. */
  address?: string;
  /** A description. */
  alias?: string;
  /** Index of the bridge; 0 takes it out. */
  master?: number;
  /** Moves it into the network namespace of this descriptor. */
  namespaceFd?: number;
  /** Without an IPv6 address of its own, and all that comes with one: for ports of a bridge. Set before it is up. */
  withoutLinkLocal?: boolean;
}

/** Creates a link. For a veth pair the other end can be born inside another network namespace. @throws NetlinkError */
export function createLink(socket: NetlinkSocket, link: NewLink): void {
  const write = (writer: MessageWriter) => {
    writer.bytes(linkHeader({ up: link.up }));
    writeLink(writer, link);
    writer.nest(linkAttribute.linkInfo, () => {
      writer.string(linkInfoAttribute.kind, link.kind);
      if (link.kind !== 'veth') return;
      const { peer } = link;
      writer.nest(linkInfoAttribute.data, () =>
        writer.nest(vethPeer, () => writeLink(writer.bytes(linkHeader({ up: peer.up })), peer)),
      );
    });
  };
  const flags = messageFlag.create | messageFlag.exclusive;
  socket.request(routeMessage.newLink, flags, write, `create ${link.kind} link ${link.name}`);
}

/** Changes a link. @throws NetlinkError (`ENODEV` when it is gone) */
export function changeLink(socket: NetlinkSocket, index: number, change: LinkChange): void {
  const write = (writer: MessageWriter) => {
    writeLink(writer.bytes(linkHeader({ index, up: change.up })), change);
    if (change.withoutLinkLocal)
      writer.nest(linkAttribute.afSpec, () =>
        writer.nest(family.ipv6, () => writer.u8(ipv6LinkAttribute.addressMode, 1)),
      );
  };
  socket.request(routeMessage.newLink, 0, write, `change link ${index}`);
}

/** Sets flags of a bridge port. @throws NetlinkError */
export function changeBridgePort(
  socket: NetlinkSocket,
  index: number,
  port: { isolated?: boolean; hairpin?: boolean },
): void {
  const write = (writer: MessageWriter) => {
    writer.bytes(linkHeader({ index, family: family.bridge }));
    writer.nest(linkAttribute.protInfo, () => {
      if (port.hairpin !== undefined) writer.u8(bridgePortAttribute.mode, port.hairpin ? 1 : 0);
      if (port.isolated !== undefined) writer.u8(bridgePortAttribute.isolated, port.isolated ? 1 : 0);
    });
  };
  socket.request(routeMessage.setLink, 0, write, `change bridge port ${index}`);
}

/** Removes a link (of a veth pair, both ends). Gives false when there was none. @throws NetlinkError */
export function deleteLink(socket: NetlinkSocket, link: number | string): boolean {
  const write = (writer: MessageWriter) => writeSelection(writer, link);
  return unlessGone('ENODEV', () => socket.request(routeMessage.delLink, 0, write, `delete link ${link}`));
}

/** The same without holding up this thread, on a socket of its own. @throws NetlinkError */
export async function deleteLinkOnThread(link: number | string): Promise<boolean> {
  using socket = new NetlinkSocket({ protocol: 'route' });
  const write = (writer: MessageWriter) => writeSelection(writer, link);
  try {
    await socket.requestOnThread(routeMessage.delLink, 0, write, `delete link ${link}`);
    return true;
  } catch (error) {
    if (isNetlinkError(error, 'ENODEV')) return false;
    throw error;
  }
}

/** All links of the socket's namespace. */
export function listLinks(socket: NetlinkSocket): Link[] {
  return socket
    .dump(routeMessage.getLink, (writer) => writer.bytes(linkHeader({})), 'list links')
    .filter((message) => message.type === routeMessage.newLink)
    .map(readLink);
}

/** One link by its name or index; undefined when there is none. */
export function findLink(socket: NetlinkSocket, link: string | number): Link | undefined {
  let found: Link | undefined;
  unlessGone('ENODEV', () => {
    const write = (writer: MessageWriter) => writeSelection(writer, link);
    const [message] = socket.request(routeMessage.getLink, 0, write, `find link ${link}`);
    found = message && readLink(message);
  });
  return found;
}

/** Runs a request; gives false when the kernel answers with this errno, the one for "not there". */
export function unlessGone(code: string, request: () => unknown): boolean {
  try {
    request();
    return true;
  } catch (error) {
    if (isNetlinkError(error, code)) return false;
    throw error;
  }
}

function writeSelection(writer: MessageWriter, link: string | number): void {
  writer.bytes(linkHeader({ index: typeof link === 'number' ? link : 0 }));
  if (typeof link === 'string') writer.string(linkAttribute.name, link);
}

function linkHeader(link: { index?: number; up?: boolean; family?: number }): Buffer {
  const header = Buffer.alloc(16);
  header[0] = link.family ?? family.unspecified;
  header.writeInt32LE(link.index ?? 0, 4);
  if (link.up !== undefined) {
    header.writeUInt32LE(link.up ? linkFlag.up : 0, 8);
    header.writeUInt32LE(linkFlag.up, 12);
  }
  return header;
}

function writeLink(writer: MessageWriter, link: LinkChange): void {
  if (link.name !== undefined) writer.string(linkAttribute.name, link.name);
  if (link.mtu !== undefined) writer.u32(linkAttribute.mtu, link.mtu);
  if (link.address !== undefined)
    writer.attribute(linkAttribute.address, Buffer.from(link.address.replaceAll(':', ''), 'hex'));
  if (link.alias !== undefined) writer.attribute(linkAttribute.alias, Buffer.from(link.alias));
  if (link.master !== undefined) writer.u32(linkAttribute.master, link.master);
  if (link.namespaceFd !== undefined) writer.u32(linkAttribute.netnsFd, link.namespaceFd);
}

/** Reads a message of type `newLink`, also one that was multicast. */
export function readLink({ payload }: NetlinkMessage): Link {
  const attributes = readAttributes(payload, 16);
  const info = attributes.get(linkAttribute.linkInfo);
  const flags = payload.readUInt32LE(8);
  return {
    index: payload.readInt32LE(4),
    name: attributeString(attributes.get(linkAttribute.name)),
    kind: info ? attributeString(readAttributes(info).get(linkInfoAttribute.kind)) : '',
    up: (flags & linkFlag.up) !== 0,
    loopback: (flags & linkFlag.loopback) !== 0,
    mtu: attributes.get(linkAttribute.mtu)?.readUInt32LE(0) ?? 0,
    address:
      attributes
        .get(linkAttribute.address)
        ?.toString('hex')
        .replace(/..(?=.)/g, '$&:') ?? '',
    master: attributes.get(linkAttribute.master)?.readUInt32LE(0) ?? 0,
    peer: attributes.get(linkAttribute.link)?.readUInt32LE(0) ?? 0,
    alias: attributeString(attributes.get(linkAttribute.alias)),
    statistics: readStatistics(attributes.get(linkAttribute.statistics64)),
  };
}

/** struct rtnl_link_stats64 */
function readStatistics(counters: Buffer | undefined): LinkStatistics {
  const counter = (index: number): bigint =>
    counters && counters.length >= index * 8 + 8 ? counters.readBigUInt64LE(index * 8) : 0n;
  return {
    rxPackets: counter(0),
    txPackets: counter(1),
    rxBytes: counter(2),
    txBytes: counter(3),
    rxErrors: counter(4),
    txErrors: counter(5),
    rxDropped: counter(6),
    txDropped: counter(7),
  };
}
