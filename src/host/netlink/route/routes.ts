import { bytesToIp, ipToBytes, parsePrefix } from '../address.ts';
import { type MessageWriter, messageFlag, type NetlinkMessage, readAttributes } from '../message.ts';
import type { NetlinkSocket } from '../socket.ts';
import { family, routeAttribute, routeMessage } from './constants.ts';
import { unlessGone } from './links.ts';

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
  /** `local`: packets to there are this machine's. Default `unicast`. */
  type?: 'unicast' | 'local';
}

/** Adds a route; with `replace`, in the place of one with the same destination. @throws NetlinkError */
export function addRoute(socket: NetlinkSocket, route: Route, options: { replace?: boolean } = {}): void {
  const flags = messageFlag.create | (options.replace ? messageFlag.replace : messageFlag.exclusive);
  const subject = `add route to ${route.destination ?? 'default'}`;
  socket.request(routeMessage.newRoute, flags, (writer) => writeRoute(writer, route, true), subject);
}

/** Removes a route. Gives false when there was none. @throws NetlinkError */
export function deleteRoute(socket: NetlinkSocket, route: Route): boolean {
  const subject = `delete route to ${route.destination ?? 'default'}`;
  const write = (writer: MessageWriter) => writeRoute(writer, route, false);
  return unlessGone('ESRCH', () => socket.request(routeMessage.delRoute, 0, write, subject));
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

const routeType = { unicast: 1, local: 2 } as const;

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
    header[7] = routeType[route.type ?? 'unicast'];
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
