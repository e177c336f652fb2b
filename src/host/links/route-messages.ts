/** A netlink attribute: number and value; nested attributes are an array. */
export type Attribute = readonly [type: number, value: number | string | Buffer | readonly Attribute[]];

/** Numbers of linux/rtnetlink.h and linux/if_link.h. */
export const route = {
  newLink: 16,
  deleteLink: 17,
  getLink: 18,
  setLink: 19,
  newAddress: 20,
  newRoute: 24,
  deleteRoute: 25,
} as const;

/** Flags of a request. */
export const requestFlags = {
  request: 1,
  acknowledge: 4,
  replace: 0x100,
  exclusive: 0x200,
  create: 0x400,
  dump: 0x300,
};

const headerLength = 16;

/** Encodes attributes: numbers as 32 bits, strings with their ending NUL, arrays as nested attributes. */
export function encodeAttributes(attributes: readonly Attribute[]): Buffer {
  return Buffer.concat(attributes.map(encodeAttribute));
}

function encodeAttribute([type, value]: Attribute): Buffer {
  let payload: Buffer;
  if (typeof value === 'number') {
    payload = Buffer.alloc(4);
    payload.writeUInt32LE(value >>> 0);
  } else if (typeof value === 'string') payload = Buffer.from(`${value}\0`);
  else if (Buffer.isBuffer(value)) payload = value;
  else payload = encodeAttributes(value as readonly Attribute[]);
  const attribute = Buffer.alloc((4 + payload.length + 3) & ~3);
  attribute.writeUInt16LE(4 + payload.length, 0);
  attribute.writeUInt16LE(type, 2);
  payload.copy(attribute, 4);
  return attribute;
}

/** Decodes attributes into a map of raw values; what is cut off is left out. */
export function decodeAttributes(data: Buffer): Map<number, Buffer> {
  const attributes = new Map<number, Buffer>();
  let at = 0;
  while (at + 4 <= data.length) {
    const length = data.readUInt16LE(at);
    if (length < 4 || at + length > data.length) break;
    attributes.set(data.readUInt16LE(at + 2) & 0x3fff, data.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return attributes;
}

/** The fixed part of a link message (struct ifinfomsg). */
export function linkHeader(options: { family?: number; index?: number; flags?: number; change?: number } = {}): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt8(options.family ?? 0, 0);
  header.writeInt32LE(options.index ?? 0, 4);
  header.writeUInt32LE(options.flags ?? 0, 8);
  header.writeUInt32LE(options.change ?? 0, 12);
  return header;
}

/** The fixed part of an address message (struct ifaddrmsg). */
export function addressHeader(family: number, prefixLength: number, index: number): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(family, 0);
  header.writeUInt8(prefixLength, 1);
  header.writeUInt32LE(index, 4);
  return header;
}

/** The fixed part of a route message (struct rtmsg): main table, static, unicast. */
export function routeHeader(family: number, prefixLength: number, scope: 'universe' | 'link'): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt8(family, 0);
  header.writeUInt8(prefixLength, 1);
  header.writeUInt8(254, 4);
  header.writeUInt8(4, 5);
  header.writeUInt8(scope === 'link' ? 253 : 0, 6);
  header.writeUInt8(1, 7);
  return header;
}

/** Puts a netlink header before a message. */
export function encodeMessage(type: number, flags: number, sequence: number, payload: Buffer): Buffer {
  const message = Buffer.alloc((headerLength + payload.length + 3) & ~3);
  message.writeUInt32LE(headerLength + payload.length, 0);
  message.writeUInt16LE(type, 4);
  message.writeUInt16LE(flags, 6);
  message.writeUInt32LE(sequence, 8);
  payload.copy(message, headerLength);
  return message;
}

/** One message as received. */
export interface ReceivedMessage {
  type: number;
  sequence: number;
  payload: Buffer;
}

/** Takes a datagram apart. */
export function decodeMessages(datagram: Buffer): ReceivedMessage[] {
  const messages: ReceivedMessage[] = [];
  let at = 0;
  while (at + headerLength <= datagram.length) {
    const length = datagram.readUInt32LE(at);
    if (length < headerLength || at + length > datagram.length) break;
    messages.push({
      type: datagram.readUInt16LE(at + 4),
      sequence: datagram.readUInt32LE(at + 8),
      payload: datagram.subarray(at + headerLength, at + length),
    });
    at += (length + 3) & ~3;
  }
  return messages;
}

/** An IP address as bytes: 4 or 16. @throws Error when it is none */
export function addressBytes(address: string): Buffer {
  if (!address.includes(':')) {
    const parts = address.split('.').map(Number);
    if (parts.length !== 4 || parts.some((part) => !Number.isInteger(part) || part < 0 || part > 255))
      throw new Error(`${address} is not an IP address`);
    return Buffer.from(parts);
  }
  const [head = '', tail] = address.split('::');
  const groups = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((part) => Number.parseInt(part, 16));
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const missing = 8 - before.length - after.length;
  if (missing < 0) throw new Error(`${address} is not an IP address`);
  const all = tail === undefined ? before : [...before, ...Array(missing).fill(0), ...after];
  if (all.length !== 8 || all.some((group) => !(group >= 0 && group <= 0xffff)))
    throw new Error(`${address} is not an IP address`);
  const bytes = Buffer.alloc(16);
  for (const [index, group] of all.entries()) bytes.writeUInt16BE(group, index * 2);
  return bytes;
}

/** The address family of an IP address: AF_INET or AF_INET6. */
export const familyOf = (address: string): number => (address.includes(':') ? 10 : 2);
