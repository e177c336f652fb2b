import { isIpv4, isIpv6 } from './names.ts';

/** The family of an address, as Services name it. */
export type IpFamily = 'IPv4' | 'IPv6';

/** A range of addresses, as numbers. */
export interface AddressRange {
  cidr: string;
  family: IpFamily;
  /** The network's own address. */
  base: bigint;
  /** How many addresses, the network's own included. */
  size: bigint;
}

/** The family of an address; undefined when it is none. */
export function familyOf(address: string): IpFamily | undefined {
  if (isIpv4(address)) return 'IPv4';
  return isIpv6(address) ? 'IPv6' : undefined;
}

/** An address as a number. */
export function addressToNumber(address: string): bigint {
  if (isIpv4(address)) return address.split('.').reduce((sum, part) => (sum << 8n) + BigInt(part), 0n);
  const plain = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [left = '', right] = plain.split('::');
  const groups = (text: string) => (text === '' ? [] : text.split(':'));
  const head = groups(left);
  const tail = right === undefined ? [] : groups(right);
  const middle = right === undefined ? [] : Array<string>(8 - head.length - tail.length).fill('0');
  return [...head, ...middle, ...tail].reduce((sum, group) => (sum << 16n) + BigInt(`0x${group}`), 0n);
}

/** A number as an address in its usual form. */
export function numberToAddress(value: bigint, family: IpFamily): string {
  if (family === 'IPv4') return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 0xffn).join('.');
  const groups = Array.from({ length: 8 }, (_, index) => ((value >> BigInt(112 - 16 * index)) & 0xffffn).toString(16));
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

/** Parses `10.96.0.0/16` or `fd00::/108`. @throws RangeError when it is no range */
export function parseRange(cidr: string): AddressRange {
  const [address = '', bits = ''] = cidr.split('/');
  const family = familyOf(address);
  const width = family === 'IPv4' ? 32 : 128;
  const length = Number(bits);
  if (!family || !/^\d+$/.test(bits) || length > width) throw new RangeError(`${cidr} is not a range of addresses`);
  const size = 1n << BigInt(width - length);
  return { cidr, family, base: (addressToNumber(address) / size) * size, size };
}

/** Whether the range holds the address. */
export function rangeHolds(range: AddressRange, address: string): boolean {
  if (familyOf(address) !== range.family) return false;
  const value = addressToNumber(address);
  return value >= range.base && value < range.base + range.size;
}

/** The nth address of a range: 1 is the first usable one. */
export function addressAt(range: AddressRange, index: number): string {
  return numberToAddress(range.base + BigInt(index), range.family);
}
