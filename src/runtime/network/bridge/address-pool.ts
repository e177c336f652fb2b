import { bytesToIp, ipToBytes, parsePrefix } from '../../../host/netlink/index.ts';

/** Prefix lengths that make sense for the pods of one node. */
const limits = { 4: { shortest: 8, longest: 30 }, 6: { shortest: 16, longest: 126 } } as const;
/** No node has more pods: larger ranges are used from their start. */
const mostAddresses = 2 ** 31;

/**
 * The addresses of one range of either family. The first is the gateway's; the network's own and the last (IPv4's
 * broadcast address) are not given. An address that was freed comes round again as late as possible, so that old
 * connections die before.
 */
export class AddressPool {
  /** As given, with the address cut to the network: `10.88.0.0/24`. */
  readonly cidr: string;
  readonly family: 4 | 6;
  readonly gateway: string;
  readonly prefixLength: number;
  readonly #network: Buffer;
  /** Offsets from the network's address. */
  readonly #last: number;
  readonly #used = new Set<number>();
  #next = firstOffset;

  /** @throws Error when it is no range of addresses, or too small or too large */
  constructor(cidr: string) {
    const { bytes, prefixLength } = parseRange(cidr);
    this.family = bytes.length === 4 ? 4 : 6;
    this.prefixLength = prefixLength;
    this.#network = maskBytes(bytes, prefixLength);
    this.cidr = `${bytesToIp(this.#network)}/${prefixLength}`;
    this.#last = Math.min(2 ** (bytes.length * 8 - prefixLength), mostAddresses) - 2;
    this.gateway = this.#format(1);
  }

  /** Where the search for a free address goes on: what a next run begins with. */
  get next(): number {
    return this.#next;
  }
  set next(offset: number) {
    if (Number.isInteger(offset) && offset >= firstOffset && offset <= this.#last) this.#next = offset;
  }
  /** Addresses in use. */
  get used(): number {
    return this.#used.size;
  }

  /** Whether the address is one of the range. */
  contains(address: string): boolean {
    return this.#offset(address) !== undefined;
  }
  /** Whether the address is in use. */
  has(address: string): boolean {
    const offset = this.#offset(address);
    return offset !== undefined && this.#used.has(offset);
  }
  /** Takes an address that is in use already; the next to be given is the one behind it. Not of this range: nothing. */
  adopt(address: string): void {
    const offset = this.#offset(address);
    if (offset === undefined || offset < firstOffset || offset > this.#last) return;
    this.#used.add(offset);
    this.#next = Math.max(this.#next, offset + 1);
  }
  /** Takes a free address. @throws Error when there is none */
  take(): string {
    const count = this.#last - firstOffset + 1;
    for (let tries = Math.min(count, this.#used.size + 1); tries > 0; tries--) {
      if (this.#next > this.#last) this.#next = firstOffset;
      const offset = this.#next++;
      if (this.#used.has(offset)) continue;
      this.#used.add(offset);
      return this.#format(offset);
    }
    throw new Error(
      `no address is free for the pod: all ${count} of the range ${this.cidr} are in use; remove pods or give the node a larger range`,
    );
  }
  /** Gives an address back. Not of this range: nothing. */
  release(address: string): void {
    const offset = this.#offset(address);
    if (offset !== undefined) this.#used.delete(offset);
  }

  #offset(address: string): number | undefined {
    const bytes = ipToBytes(address);
    if (bytes.length !== this.#network.length) return undefined;
    if (!maskBytes(bytes, this.prefixLength).equals(this.#network)) return undefined;
    const tail = bytes.length - 4;
    // Above the last four bytes an address of ours is the network's.
    if (!bytes.subarray(0, tail).equals(this.#network.subarray(0, tail))) return undefined;
    return bytes.readUInt32BE(tail) - this.#network.readUInt32BE(tail);
  }
  #format(offset: number): string {
    const bytes = Buffer.from(this.#network);
    const tail = bytes.length - 4;
    bytes.writeUInt32BE(bytes.readUInt32BE(tail) + offset, tail);
    return bytesToIp(bytes);
  }
}

/** The first address that pods get: behind the network's and the gateway's. */
const firstOffset = 2;

function parseRange(cidr: string): { bytes: Buffer; prefixLength: number } {
  const fail = (why: string): never => {
    throw new Error(`pod range "${cidr}" ${why}`);
  };
  if (!/^[^/]+\/\d+$/.test(cidr)) fail('is not a range of addresses such as 10.88.0.0/24 or fd00:88::/64');
  let parsed: { bytes: Buffer; prefixLength: number } | undefined;
  try {
    parsed = parsePrefix(cidr);
  } catch {
    return fail('is not a range of addresses such as 10.88.0.0/24 or fd00:88::/64');
  }
  const family = parsed.bytes.length === 4 ? 4 : 6;
  const { shortest, longest } = limits[family];
  if (parsed.prefixLength < shortest || parsed.prefixLength > longest)
    fail(`is not usable: an IPv${family} range must be of /${shortest} to /${longest}`);
  return parsed;
}

function maskBytes(bytes: Buffer, prefixLength: number): Buffer {
  return Buffer.from(
    bytes.map((byte, index) => byte & (0xff00 >> Math.min(8, Math.max(0, prefixLength - index * 8))) & 0xff),
  );
}
