/**
 * The types a set's key or value is made of, as the nft program names them. Each field of a concatenation starts on a
 * four-byte boundary. `type` is the number that the nft program stores beside the set to print it; the kernel ignores it.
 */
export const fieldTypes = {
  ipv4_addr: { type: 7, length: 4 },
  ipv6_addr: { type: 8, length: 16 },
  inet_proto: { type: 12, length: 1 },
  inet_service: { type: 13, length: 2 },
  mark: { type: 19, length: 4 },
} as const;

/** One of {@link fieldTypes}. */
export type FieldType = keyof typeof fieldTypes;

const pad = (length: number): number => (length + 3) & ~3;

/** Bytes of a concatenation of the fields. One field alone is not padded. */
export function fieldsLength(fields: readonly FieldType[]): number {
  if (fields.length === 1) return fieldTypes[fields[0]!].length;
  return fields.reduce((sum, field) => sum + pad(fieldTypes[field].length), 0);
}

/** The nft program's number for a concatenation: six bits a field. */
export function fieldsType(fields: readonly FieldType[]): number {
  return fields.reduce((number, field) => (number << 6) | fieldTypes[field].type, 0) >>> 0;
}

/** How far each field reaches, padded: what the kernel wants to know of an interval set over several fields. */
export function paddedLengths(fields: readonly FieldType[]): number[] {
  return fields.map((field) => pad(fieldTypes[field].length));
}

/** What a set or a map is. */
export interface SetDeclaration {
  name: string;
  key: readonly FieldType[];
  /** Makes it a map: to fields, or to verdicts. */
  value?: readonly FieldType[] | 'verdict';
  /** Elements are ranges (key to keyEnd). */
  interval?: boolean;
  /** Rules may add elements (dynset). */
  dynamic?: boolean;
  /** Elements may expire. */
  timeout?: boolean;
  /** Most elements it takes. Needed for a dynamic set; a plain one grows without it. */
  size?: number;
}

/** Where a verdict map's element or a rule sends a packet. */
export type Verdict = { code: 'drop' | 'accept' | 'return' | 'continue' } | { code: 'jump' | 'goto'; chain: string };

/** An element of a set or map, in the bytes the kernel compares: network order, fields padded to four bytes. */
export interface SetElement {
  key: Buffer;
  /** The last key of a range, for interval sets. */
  keyEnd?: Buffer;
  value?: Buffer;
  verdict?: Verdict;
  /** Milliseconds until it is gone, when read from a set with timeouts. */
  expiresMs?: number;
}
