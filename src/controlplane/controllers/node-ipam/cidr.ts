/** A range of addresses: the first as a number, the length of its prefix, and 32 or 128 bits. */
export interface Cidr {
  first: bigint;
  prefix: number;
  bits: 32 | 128;
}

/** Parses `10.244.0.0/16` or `fd00::/48`. @throws RangeError when it is none */
export function parseCidr(text: string): Cidr {
  const match = /^([\da-fA-F:.]+)\/(\d+)$/.exec(text.trim());
  const bits = text.includes(':') ? 128 : 32;
  const prefix = Number(match?.[2]);
  if (!match || prefix > bits) throw new RangeError(`${JSON.stringify(text)} is no range of addresses`);
  const address = bits === 32 ? parseV4(match[1]!) : parseV6(match[1]!);
  const size = BigInt(bits - prefix);
  return { first: (address >> size) << size, prefix, bits };
}

function parseV4(text: string): bigint {
  const parts = text.split('.').map(Number);
  if (parts.length !== 4 || parts.some((part) => !(part >= 0 && part <= 255))) {
    throw new RangeError(`${JSON.stringify(text)} is no IPv4 address`);
  }
  return parts.reduce((sum, part) => sum * 256n + BigInt(part), 0n);
}

function parseV6(text: string): bigint {
  const [head = '', tail, ...more] = text.split('::');
  if (more.length > 0) throw new RangeError(`${JSON.stringify(text)} is no IPv6 address`);
  const groups = (part: string | undefined) => (part ? part.split(':') : []);
  const missing = tail === undefined ? 0 : 8 - groups(head).length - groups(tail).length;
  const all = [...groups(head), ...Array<string>(Math.max(0, missing)).fill('0'), ...groups(tail)];
  if (all.length !== 8 || all.some((group) => !/^[\da-fA-F]{1,4}$/.test(group))) {
    throw new RangeError(`${JSON.stringify(text)} is no IPv6 address`);
  }
  return all.reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n);
}

/** Writes a range as text. */
export function formatCidr({ first, prefix, bits }: Cidr): string {
  if (bits === 32) {
    const bytes = [24n, 16n, 8n, 0n].map((shift) => (first >> shift) & 255n);
    return `${bytes.join('.')}/${prefix}`;
  }
  const groups = Array.from({ length: 8 }, (_, i) => ((first >> BigInt(112 - 16 * i)) & 65535n).toString(16));
  const text = groups.join(':').replace(/(?:^|:)0(?::0)+(?:$|:)/, '::');
  return `${text}/${prefix}`;
}

/**
 * The first range of `prefix` length inside `whole` that overlaps none of `used`; undefined when all are taken.
 * A whole that is no longer than asked is given as it is.
 */
export function freeRange(whole: Cidr, prefix: number, used: readonly Cidr[]): Cidr | undefined {
  const length = Math.max(whole.prefix, prefix);
  const size = 1n << BigInt(whole.bits - length);
  const end = whole.first + (1n << BigInt(whole.bits - whole.prefix));
  const taken = used
    .filter(({ bits }) => bits === whole.bits)
    .map(({ first, prefix: own, bits }) => ({ first, end: first + (1n << BigInt(bits - own)) }))
    .sort((a, b) => (a.first < b.first ? -1 : 1));
  let first = whole.first;
  for (const one of taken) {
    if (one.end <= first) continue;
    if (one.first >= first + size) break;
    first = ((one.end + size - 1n) / size) * size;
  }
  return first + size <= end ? { first, prefix: length, bits: whole.bits } : undefined;
}
