import { bytesToIp, parsePrefix } from '../address.ts';
import { type MessageWriter, messageFlag, readAttributes } from '../message.ts';
import type { NetlinkSocket } from '../socket.ts';
import { addressAttribute, family, routeMessage } from './constants.ts';
import { unlessGone } from './links.ts';

/** An address on a link. */
export interface LinkAddress {
  link: number;
  address: string;
  prefixLength: number;
  /** 0 global, 200 site, 253 link, 254 host. */
  scope: number;
}

/**
 * Adds an address (`10.0.0.1/24`) to a link; with `replace`, one that is there is no error. An IPv6 address can be used
 * at once: the kernel does not look for others that have it.
 * @throws NetlinkError (`EEXIST` when it is there)
 */
export function addAddress(
  socket: NetlinkSocket,
  link: number,
  address: string,
  options: { scope?: number; replace?: boolean } = {},
): void {
  const write = (writer: MessageWriter) => writeAddress(writer, link, address, options.scope ?? 0);
  const flags = messageFlag.create | (options.replace ? messageFlag.replace : messageFlag.exclusive);
  socket.request(routeMessage.newAddress, flags, write, `add address ${address} to link ${link}`);
}

/** Takes an address off a link. Gives false when it was not there. @throws NetlinkError */
export function deleteAddress(socket: NetlinkSocket, link: number, address: string): boolean {
  const write = (writer: MessageWriter) => writeAddress(writer, link, address, 0);
  const subject = `delete address ${address} of link ${link}`;
  return unlessGone('EADDRNOTAVAIL', () => socket.request(routeMessage.delAddress, 0, write, subject));
}

/** All addresses of the socket's namespace, IPv4 first; only those of one link, when it is given. */
export function listAddresses(socket: NetlinkSocket, onlyFamily?: 4 | 6, onlyLink?: number): LinkAddress[] {
  const asked = onlyFamily === 4 ? family.ipv4 : onlyFamily === 6 ? family.ipv6 : family.unspecified;
  return socket
    .dump(
      routeMessage.getAddress,
      (writer) => writer.bytes(Buffer.from([asked, 0, 0, 0, 0, 0, 0, 0])),
      'list addresses',
    )
    .filter(
      ({ type, payload }) =>
        type === routeMessage.newAddress && (onlyLink === undefined || payload.readUInt32LE(4) === onlyLink),
    )
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
