import { bytesToIp, ipToBytes } from '../address.ts';
import { isNetlinkError } from '../errors.ts';
import { readAttributes } from '../message.ts';
import type { NetlinkSocket } from '../socket.ts';
import { family, routeAttribute, routeMessage } from './constants.ts';

/** Where the kernel would send a packet. */
export interface RouteAnswer {
  /** `local`: an address of this machine. */
  type: 'unicast' | 'local' | 'broadcast' | 'multicast' | 'unreachable';
  /** Index of the outgoing link. */
  link?: number;
  gateway?: string;
  /** The source address that a program's packet would get. */
  source?: string;
}

const types = { 1: 'unicast', 2: 'local', 3: 'broadcast', 5: 'multicast' } as const;

/** Asks the kernel for the route to an address (with rules and all tables). @throws NetlinkError */
export function lookUpRoute(socket: NetlinkSocket, address: string): RouteAnswer {
  const bytes = ipToBytes(address);
  const header = Buffer.alloc(12);
  header[0] = bytes.length === 16 ? family.ipv6 : family.ipv4;
  header[1] = bytes.length * 8;
  try {
    const [message] = socket.request(
      routeMessage.getRoute,
      0,
      (writer) => writer.bytes(header).attribute(routeAttribute.destination, bytes),
      `look the route to ${address} up`,
    );
    if (!message) return { type: 'unreachable' };
    const attributes = readAttributes(message.payload, 12);
    const text = (type: number) => {
      const value = attributes.get(type);
      return value && bytesToIp(value);
    };
    return {
      type: types[message.payload[7] as keyof typeof types] ?? 'unreachable',
      link: attributes.get(routeAttribute.outputLink)?.readUInt32LE(0),
      gateway: text(routeAttribute.gateway),
      source: text(routeAttribute.preferredSource),
    };
  } catch (error) {
    if (isNetlinkError(error, 'ENETUNREACH', 'EHOSTUNREACH', 'EACCES', 'EINVAL')) return { type: 'unreachable' };
    throw error;
  }
}
