/** Flags of a netlink message header (linux/netlink.h). */
export const messageFlag = {
  request: 0x1,
  multi: 0x2,
  acknowledge: 0x4,
  echo: 0x8,
  root: 0x100,
  match: 0x200,
  dump: 0x300,
  replace: 0x100,
  exclusive: 0x200,
  create: 0x400,
  append: 0x800,
  /** In an error: the request's own payload was cut off. */
  capped: 0x100,
  /** In an error: attributes with the kernel's own words follow. */
  acknowledgeAttributes: 0x200,
} as const;

/** Message types below the protocols' own. */
export const messageType = { noop: 1, error: 2, done: 3, overrun: 4 } as const;

const headerLength = 16;
const nested = 0x8000;
const typeMask = 0x3fff;

/** One received message. `payload` starts behind the netlink header and shares the receive buffer. */
export interface NetlinkMessage {
  type: number;
  flags: number;
  sequence: number;
  payload: Buffer;
}

const align = (length: number): number => (length + 3) & ~3;

/**
 * Writes netlink messages, one after another, into one growing buffer.
 *
 * ```ts
 * const writer = new MessageWriter();
 * writer.begin(RTM_NEWLINK, messageFlag.create).bytes(ifinfomsg).string(IFLA_IFNAME, 'dh0');
 * writer.nest(IFLA_LINKINFO, () => writer.string(IFLA_INFO_KIND, 'bridge'));
 * ```
 * Numbers are in the machine's byte order unless the name says `be`; only little-endian machines are supported.
 */
export class MessageWriter {
  #buffer: Buffer;
  #length = 0;
  #start = -1;
  #nextSequence: number;

  constructor(options: { firstSequence?: number; capacity?: number } = {}) {
    this.#buffer = Buffer.allocUnsafe(options.capacity ?? 4096);
    this.#nextSequence = options.firstSequence ?? 1;
  }

  /** Ends the message before and starts one. `request` is always set; the sequence number counts up from message to message. */
  begin(type: number, flags = 0): this {
    this.#close();
    this.#reserve(headerLength);
    this.#start = this.#length;
    this.#buffer.writeUInt32LE(0, this.#length);
    this.#buffer.writeUInt16LE(type, this.#length + 4);
    this.#buffer.writeUInt16LE(flags | messageFlag.request, this.#length + 6);
    this.#buffer.writeUInt32LE(this.#nextSequence++, this.#length + 8);
    this.#buffer.writeUInt32LE(0, this.#length + 12);
    this.#length += headerLength;
    return this;
  }
  /** The sequence number of the message that is being written. */
  get sequence(): number {
    return this.#nextSequence - 1;
  }
  /** Bytes written so far, headers included. */
  get length(): number {
    return this.#length;
  }
  /** The protocol's fixed header, as it is (padded to four bytes). */
  bytes(header: Uint8Array): this {
    this.#reserve(align(header.length));
    this.#buffer.fill(0, this.#length, this.#length + align(header.length));
    this.#buffer.set(header, this.#length);
    this.#length += align(header.length);
    return this;
  }
  /** An attribute with these bytes. */
  attribute(type: number, value: Uint8Array): this {
    this.#head(type, value.length);
    this.#buffer.set(value, this.#length);
    return this.#pad(value.length);
  }
  u8(type: number, value: number): this {
    this.#head(type, 1);
    this.#buffer[this.#length] = value;
    return this.#pad(1);
  }
  u16(type: number, value: number): this {
    this.#head(type, 2);
    this.#buffer.writeUInt16LE(value, this.#length);
    return this.#pad(2);
  }
  be16(type: number, value: number): this {
    this.#head(type, 2);
    this.#buffer.writeUInt16BE(value, this.#length);
    return this.#pad(2);
  }
  u32(type: number, value: number): this {
    this.#head(type, 4);
    this.#buffer.writeUInt32LE(value >>> 0, this.#length);
    return this.#pad(4);
  }
  i32(type: number, value: number): this {
    return this.u32(type, value);
  }
  be32(type: number, value: number): this {
    this.#head(type, 4);
    this.#buffer.writeUInt32BE(value >>> 0, this.#length);
    return this.#pad(4);
  }
  be64(type: number, value: bigint): this {
    this.#head(type, 8);
    this.#buffer.writeBigUInt64BE(value, this.#length);
    return this.#pad(8);
  }
  u64(type: number, value: bigint): this {
    this.#head(type, 8);
    this.#buffer.writeBigUInt64LE(value, this.#length);
    return this.#pad(8);
  }
  /** A text with the zero byte at its end. */
  string(type: number, value: string): this {
    return this.attribute(type, Buffer.from(`${value}\0`));
  }
  /** An attribute without content. */
  flag(type: number): this {
    this.#head(type, 0);
    return this;
  }
  /** An attribute made of attributes (NLA_F_NESTED). At most 65,535 bytes. @throws RangeError */
  nest(type: number, write: () => void): this {
    this.#reserve(4);
    const start = this.#length;
    this.#buffer.writeUInt16LE(type | nested, start + 2);
    this.#length += 4;
    write();
    const length = this.#length - start;
    if (length > 0xffff) throw new RangeError(`nested netlink attribute ${type} is ${length} bytes long`);
    this.#buffer.writeUInt16LE(length, start);
    return this;
  }
  /** All messages, complete. The buffer is the writer's own: do not write on after sending it. */
  finish(): Buffer {
    this.#close();
    return this.#buffer.subarray(0, this.#length);
  }

  #close(): void {
    if (this.#start < 0) return;
    this.#buffer.writeUInt32LE(this.#length - this.#start, this.#start);
    this.#start = -1;
  }
  #head(type: number, length: number): void {
    if (length + 4 > 0xffff) throw new RangeError(`netlink attribute ${type} is ${length} bytes long`);
    this.#reserve(4 + align(length));
    this.#buffer.writeUInt16LE(length + 4, this.#length);
    this.#buffer.writeUInt16LE(type, this.#length + 2);
    this.#length += 4;
  }
  #pad(length: number): this {
    const end = this.#length + align(length);
    this.#buffer.fill(0, this.#length + length, end);
    this.#length = end;
    return this;
  }
  #reserve(more: number): void {
    if (this.#length + more <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#length + more));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}

/** The messages of one received datagram. */
export function* readMessages(datagram: Buffer): Generator<NetlinkMessage> {
  let at = 0;
  while (at + headerLength <= datagram.length) {
    const length = datagram.readUInt32LE(at);
    if (length < headerLength || at + length > datagram.length) return;
    yield {
      type: datagram.readUInt16LE(at + 4),
      flags: datagram.readUInt16LE(at + 6),
      sequence: datagram.readUInt32LE(at + 8),
      payload: datagram.subarray(at + headerLength, at + length),
    };
    at += align(length);
  }
}

/** The attributes behind the first `offset` bytes, by type (of several with the same type, the last one). */
export function readAttributes(payload: Buffer, offset = 0): Map<number, Buffer> {
  const attributes = new Map<number, Buffer>();
  for (const [type, value] of eachAttribute(payload, offset)) attributes.set(type, value);
  return attributes;
}

/** The attributes behind the first `offset` bytes, in order: for lists, where types repeat. */
export function* eachAttribute(payload: Buffer, offset = 0): Generator<[type: number, value: Buffer]> {
  let at = align(offset);
  while (at + 4 <= payload.length) {
    const length = payload.readUInt16LE(at);
    if (length < 4 || at + length > payload.length) return;
    yield [payload.readUInt16LE(at + 2) & typeMask, payload.subarray(at + 4, at + length)];
    at += align(length);
  }
}

/** The text of an attribute, without its closing zero byte. */
export function attributeString(value: Buffer | undefined): string {
  if (!value) return '';
  const end = value.indexOf(0);
  return value.toString('utf8', 0, end < 0 ? value.length : end);
}
