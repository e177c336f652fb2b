import { bytesToIp, ipToBytes } from './address.ts';
import { isNetlinkError } from './errors.ts';
import { attributeString, type MessageWriter, messageFlag, type NetlinkMessage, readAttributes } from './message.ts';
import {
  addressAttribute,
  bridgePortAttribute,
  family,
  linkAttribute,
  linkFlag,
  linkInfoAttribute,
  routeAttribute,
  routeMessage,
  vethPeer,
} from './route-constants.ts';
import type { NetlinkSocket } from './socket.ts';

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
}

/** An address on a link. */
export interface LinkAddress {
  link: number;
  address: string;
  prefixLength: number;
  /** 0 global, 200 site, 253 link, 254 host. */
  scope: number;
}

/** A route. Without `destination` it is the default route. */
export interface Route {
  /** `10.0.0.0/8`; undefined for the default route. */
  destination?: string;
  gateway?: string;
  /** Index of the outgoing link. */
  link?: number;
  /** Source address that packets of the machine itself get. */
  preferredSource?: string;
  /** 0 global (through a gateway), 253 link (directly reachable), 254 host. Default: by gateway. */
  scope?: number;
  /** Default 254, the main table. */
  table?: number;
  priority?: number;
  /** Needed for a default route without gateway. */
  family?: 4 | 6;
  /** Who made it (rtm_protocol). Default 4, static. */
  protocol?: number;
}

/** What a new link is made of. */
export type NewLink = { name: string; mtu?: number; address?: string; up?: boolean; master?: number } & (
  | { kind: 'bridge' | 'dummy' }
  | { kind: 'veth'; peer: { name: string; namespaceFd?: number; mtu?: number; address?: string } }
);

/** What can be changed of a link. */
export interface LinkChange {
  up?: boolean;
  name?: string;
  mtu?: number;
  /** Hardware address. */
  address?: string;
  /** Index of the bridge; 0 takes it out. */
  master?: number;
  /** Moves it into the network namespace of this descriptor. */
  namespaceFd?: number;
}

/** Creates a link. For a veth pair the other end can be born inside another network namespace. @throws NetlinkError */
export function createLink(socket: NetlinkSocket, link: NewLink): void {
  const write = (writer: MessageWriter) => {
    writer.bytes(linkHeader({ up: link.up }));
    writeLink(writer, link);
    writer.nest(linkAttribute.linkInfo, () => {
      writer.string(linkInfoAttribute.kind, link.kind);
      if (link.kind !== 'veth') return;
      writer.nest(linkInfoAttribute.data, () =>
        writer.nest(vethPeer, () => writeLink(writer.bytes(linkHeader({})), link.peer)),
      );
    });
  };
  const flags = messageFlag.create | messageFlag.exclusive;
  socket.request(routeMessage.newLink, flags, write, `create ${link.kind} link ${link.name}`);
}

/** Changes a link. @throws NetlinkError (`ENODEV` when it is gone) */
export function changeLink(socket: NetlinkSocket, index: number, change: LinkChange): void {
  const write = (writer: MessageWriter) => writeLink(writer.bytes(linkHeader({ index, up: change.up })), change);
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

/** Removes a link (of a veth pair, both ends). @throws NetlinkError */
export function deleteLink(socket: NetlinkSocket, link: number | string): void {
  const write = (writer: MessageWriter) => {
    writer.bytes(linkHeader({ index: typeof link === 'number' ? link : 0 }));
    if (typeof link === 'string') writer.string(linkAttribute.name, link);
  };
  socket.request(routeMessage.delLink, 0, write, `delete link ${link}`);
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
  try {
    const write = (writer: MessageWriter) => {
      writer.bytes(linkHeader({ index: typeof link === 'number' ? link : 0 }));
      if (typeof link === 'string') writer.string(linkAttribute.name, link);
    };
    const [message] = socket.request(routeMessage.getLink, 0, write, `find link ${link}`);
    return message && readLink(message);
  } catch (error) {
    if (isNetlinkError(error, 'ENODEV')) return undefined;
    throw error;
  }
}

/** Adds an address (`10.0.0.1/24`) to a link. @throws NetlinkError (`EEXIST` when it is there) */
export function addAddress(socket: NetlinkSocket, link: number, address: string, options: { scope?: number } = {}) {
  const write = (writer: MessageWriter) => writeAddress(writer, link, address, options.scope ?? 0);
  const flags = messageFlag.create | messageFlag.exclusive;
  socket.request(routeMessage.newAddress, flags, write, `add address ${address} to link ${link}`);
}

/** Takes an address off a link. @throws NetlinkError */
export function deleteAddress(socket: NetlinkSocket, link: number, address: string): void {
  const write = (writer: MessageWriter) => writeAddress(writer, link, address, 0);
  socket.request(routeMessage.delAddress, 0, write, `delete address ${address} of link ${link}`);
}

/** All addresses of the socket's namespace, IPv4 first. */
export function listAddresses(socket: NetlinkSocket, onlyFamily?: 4 | 6): LinkAddress[] {
  const asked = onlyFamily === 4 ? family.ipv4 : onlyFamily === 6 ? family.ipv6 : family.unspecified;
  return socket
    .dump(
      routeMessage.getAddress,
      (writer) => writer.bytes(Buffer.from([asked, 0, 0, 0, 0, 0, 0, 0])),
      'list addresses',
    )
    .filter((message) => message.type === routeMessage.newAddress)
    .map(({ payload }) => {
      const attributes = readAttributes(payload, 8);
      const bytes = attributes.get(addressAttribute.local) ?? attributes.get(addressAttribute.address)!;
      return {
        link: payload.readUInt32LE(4),
        address: bytesToIp(bytes),
        prefixLength: payload[1]!,
        scope: payload[3]!,
      };
    });
}

/** Adds a route; with `replace`, in the place of one with the same destination. @throws NetlinkError */
export function addRoute(socket: NetlinkSocket, route: Route, options: { replace?: boolean } = {}): void {
  const flags = messageFlag.create | (options.replace ? messageFlag.replace : messageFlag.exclusive);
  const subject = `add route to ${route.destination ?? 'default'}`;
  socket.request(routeMessage.newRoute, flags, (writer) => writeRoute(writer, route, true), subject);
}

/** Removes a route. @throws NetlinkError (`ESRCH` when there is none) */
export function deleteRoute(socket: NetlinkSocket, route: Route): void {
  const subject = `delete route to ${route.destination ?? 'default'}`;
  socket.request(routeMessage.delRoute, 0, (writer) => writeRoute(writer, route, false), subject);
}

/** The routes of one table (default: main). */
export function listRoutes(socket: NetlinkSocket, options: { family?: 4 | 6; table?: number } = {}): Route[] {
  const asked = options.family === 6 ? family.ipv6 : family.ipv4;
  const header = Buffer.alloc(12);
  header[0] = asked;
  return socket
    .dump(routeMessage.getRoute, (writer) => writer.bytes(header), 'list routes')
    .filter((message) => message.type === routeMessage.newRoute)
    .map(readRoute)
    .filter((route) => route.table === (options.table ?? 254));
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
  if (link.master !== undefined) writer.u32(linkAttribute.master, link.master);
  if (link.namespaceFd !== undefined) writer.u32(linkAttribute.netnsFd, link.namespaceFd);
}

function readLink({ payload }: NetlinkMessage): Link {
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
  };
}

function writeAddress(writer: MessageWriter, link: number, text: string, scope: number): void {
  const { bytes, prefixLength } = parsePrefix(text);
  const header = Buffer.alloc(8);
  header[0] = bytes.length === 4 ? family.ipv4 : family.ipv6;
  header[1] = prefixLength;
  header[3] = scope;
  header.writeUInt32LE(link, 4);
  writer.bytes(header).attribute(addressAttribute.local, bytes).attribute(addressAttribute.address, bytes);
  // An IPv6 address is used at once: nobody else on a link of ours can have it (IFA_F_NODAD).
  if (bytes.length === 16) writer.u32(addressAttribute.flags, 0x02);
  else if (prefixLength < 31 && scope === 0)
    writer.attribute(addressAttribute.broadcast, broadcast(bytes, prefixLength));
}

function broadcast(bytes: Buffer, prefixLength: number): Buffer {
  const last = Buffer.alloc(4);
  last.writeUInt32BE((bytes.readUInt32BE(0) | (prefixLength === 0 ? 0xffffffff : 0xffffffff >>> prefixLength)) >>> 0);
  return last;
}

function writeRoute(writer: MessageWriter, route: Route, adding: boolean): void {
  const destination = route.destination === undefined ? undefined : parsePrefix(route.destination);
  const sample = destination?.bytes ?? (route.gateway === undefined ? undefined : ipToBytes(route.gateway));
  const six = sample ? sample.length === 16 : route.family === 6;
  const header = Buffer.alloc(12);
  header[0] = six ? family.ipv6 : family.ipv4;
  header[1] = destination?.prefixLength ?? 0;
  header[4] = (route.table ?? 254) < 256 ? (route.table ?? 254) : 0;
  if (adding) {
    header[5] = route.protocol ?? 4;
    header[6] = route.scope ?? (route.gateway === undefined && !six ? 253 : 0);
    header[7] = 1; // RTN_UNICAST
  } else header[6] = route.scope ?? 255;
  writer.bytes(header);
  if (destination) writer.attribute(routeAttribute.destination, destination.bytes);
  if (route.gateway !== undefined) writer.attribute(routeAttribute.gateway, ipToBytes(route.gateway));
  if (route.link !== undefined) writer.u32(routeAttribute.outputLink, route.link);
  if (route.preferredSource !== undefined)
    writer.attribute(routeAttribute.preferredSource, ipToBytes(route.preferredSource));
  if (route.priority !== undefined) writer.u32(routeAttribute.priority, route.priority);
  if ((route.table ?? 254) > 255) writer.u32(routeAttribute.table, route.table!);
}

function readRoute({ payload }: NetlinkMessage): Route {
  const attributes = readAttributes(payload, 12);
  const address = (type: number) => {
    const bytes = attributes.get(type);
    return bytes && bytesToIp(bytes);
  };
  const destination = address(routeAttribute.destination);
  return {
    destination: destination === undefined ? undefined : `${destination}/${payload[1]}`,
    gateway: address(routeAttribute.gateway),
    link: attributes.get(routeAttribute.outputLink)?.readUInt32LE(0),
    preferredSource: address(routeAttribute.preferredSource),
    scope: payload[6],
    table: attributes.get(routeAttribute.table)?.readUInt32LE(0) ?? payload[4],
    priority: attributes.get(routeAttribute.priority)?.readUInt32LE(0),
    family: payload[0] === family.ipv6 ? 6 : 4,
    protocol: payload[5],
  };
}

/** Splits `address/length`. @throws RangeError */
export function parsePrefix(text: string): { bytes: Buffer; prefixLength: number } {
  const [address = '', length] = text.split('/');
  const bytes = ipToBytes(address);
  const prefixLength = length === undefined ? bytes.length * 8 : Number(length);
  if (!Number.isInteger(prefixLength) || prefixLength < 0 || prefixLength > bytes.length * 8)
    throw new RangeError(`${JSON.stringify(text)} is not an address with a prefix length`);
  return { bytes, prefixLength };
}
