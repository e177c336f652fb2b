import { bytesToIp, parsePrefix } from '../../host/netlink/index.ts';
import type { IpFamily } from './types.ts';

interface Range {
  bytes: Buffer;
  prefixLength: number;
}

/**
 * The source ranges of one family, each in the one way to write it, without those that lie inside another: what the
 * kernel would refuse as overlapping. A range over everything is no restriction: then the list is empty. What is no
 * prefix is told to `onBad` and left out.
 */
export function readSourceRanges(
  ranges: readonly string[] | undefined,
  family: IpFamily,
  onBad: (range: string) => void,
): string[] {
  const found: Range[] = [];
  let other = false;
  for (const text of ranges ?? []) {
    const range = text.trim();
    try {
      const { bytes, prefixLength } = parsePrefix(range);
      if (bytes.length !== (family === 4 ? 4 : 16)) other = true;
      else if (prefixLength === 0) return [];
      else found.push({ bytes: network(bytes, prefixLength), prefixLength });
    } catch {
      onBad(range);
    }
  }
  found.sort((a, b) => a.prefixLength - b.prefixLength);
  const widest: Range[] = [];
  for (const range of found) if (!widest.some((wider) => contains(wider, range))) widest.push(range);
  // Ranges of the other family only: nobody of this family is meant. Upstream leaves the address open to all here.
  if (widest.length === 0 && other) return [family === 4 ? '255.255.255.255/32' : 'ff00::/128'];
  return widest.map(({ bytes, prefixLength }) => `${bytesToIp(bytes)}/${prefixLength}`);
}

/** The address with all bits behind the prefix cleared. */
function network(bytes: Buffer, prefixLength: number): Buffer {
  return Buffer.from(
    bytes.map((byte, index) => byte & (0xff00 >> Math.min(8, Math.max(0, prefixLength - index * 8))) & 0xff),
  );
}

function contains(wider: Range, range: Range): boolean {
  return wider.prefixLength <= range.prefixLength && network(range.bytes, wider.prefixLength).equals(wider.bytes);
}
