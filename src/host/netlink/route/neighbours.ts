import { bytesToIp, ipToBytes } from '../address.ts';
import { type MessageWriter, messageFlag, readAttributes } from '../message.ts';
import type { NetlinkSocket } from '../socket.ts';
import { family, neighbourAttribute, neighbourState, routeMessage } from './constants.ts';
import { unlessGone } from './links.ts';

/** Which hardware address an IP address has on a link. */
export interface Neighbour {
  link: number;
  address: string;
  /** `aa:bb:cc:dd:ee:ff` */
  hardwareAddress: string;
  /** Whether it was set and is not learned. */
  permanent: boolean;
}

/** Sets a neighbour for good: it is never asked for on the link, and takes no room among the learned ones. @throws NetlinkError */
export function setNeighbour(socket: NetlinkSocket, neighbour: Omit<Neighbour, 'permanent'>): void {
  const { link, address, hardwareAddress } = neighbour;
  const write = (writer: MessageWriter) =>
    writer
      .bytes(header(link, address, neighbourState.permanent))
      .attribute(neighbourAttribute.destination, ipToBytes(address))
      .attribute(neighbourAttribute.hardwareAddress, Buffer.from(hardwareAddress.replaceAll(':', ''), 'hex'));
  const flags = messageFlag.create | messageFlag.replace;
  socket.request(routeMessage.newNeighbour, flags, write, `set neighbour ${address} of link ${link}`);
}

/** Forgets a neighbour. Gives false when it was not known. @throws NetlinkError */
export function deleteNeighbour(socket: NetlinkSocket, link: number, address: string): boolean {
  const write = (writer: MessageWriter) =>
    writer.bytes(header(link, address, 0)).attribute(neighbourAttribute.destination, ipToBytes(address));
  const subject = `delete neighbour ${address} of link ${link}`;
  return unlessGone('ENOENT', () => socket.request(routeMessage.delNeighbour, 0, write, subject));
}

/** The neighbours of a link. */
export function listNeighbours(socket: NetlinkSocket, link: number): Neighbour[] {
  return socket
    .dump(routeMessage.getNeighbour, (writer) => writer.bytes(Buffer.alloc(12)), 'list neighbours')
    .filter(({ type, payload }) => type === routeMessage.newNeighbour && payload.readInt32LE(4) === link)
    .flatMap(({ payload }) => {
      const attributes = readAttributes(payload, 12);
      const address = attributes.get(neighbourAttribute.destination);
      if (!address || (payload[0] !== family.ipv4 && payload[0] !== family.ipv6)) return [];
      const hardware = attributes.get(neighbourAttribute.hardwareAddress)?.toString('hex') ?? '';
      return [
        {
          link,
          address: bytesToIp(address),
          hardwareAddress: hardware.replace(/..(?=.)/g, '$&:'),
          permanent: (payload.readUInt16LE(8) & neighbourState.permanent) !== 0,
        },
      ];
    });
}

/** struct ndmsg */
function header(link: number, address: string, state: number): Buffer {
  const bytes = Buffer.alloc(12);
  bytes[0] = address.includes(':') ? family.ipv6 : family.ipv4;
  bytes.writeInt32LE(link, 4);
  bytes.writeUInt16LE(state, 8);
  return bytes;
}
