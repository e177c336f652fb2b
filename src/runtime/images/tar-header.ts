import { ImageError } from './image-error.ts';

/**
 * Names in archives are bytes of no certain encoding. They are kept as "byte strings", one character per byte, which can
 * be compared and put together like any text, and become bytes again where the file system is asked.
 */
export function toByteString(text: string): string {
  return /[^\0-\x7f]/.test(text) ? Buffer.from(text).toString('latin1') : text;
}

/** A byte string as the file system takes it. */
export function fromByteString(path: string): string | Buffer {
  return /[^\0-\x7f]/.test(path) ? Buffer.from(path, 'latin1') : path;
}

/** A byte string for people. */
export function showByteString(text: string): string {
  const shown = Buffer.from(text.slice(0, 300), 'latin1').toString();
  return JSON.stringify(text.length > 300 ? `${shown}…` : shown);
}

/** What a header block says, before extensions. Names are byte strings. */
export interface TarHeader {
  path: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtime: number;
  type: string;
  linkPath: string;
  major: number;
  minor: number;
}

/** A piece of a sparse file that has content. */
export interface Segment {
  offset: number;
  length: number;
}

export const block = 512;

/** Reads a header block. @throws ImageError when its checksum is wrong */
export function parseHeader(header: Buffer): TarHeader {
  let sum = 8 * 0x20;
  for (let at = 0; at < block; at++) if (at < 148 || at >= 156) sum += header[at]!;
  if (sum !== readNumber(header, 148, 8)) throw new ImageError('DATA_LOSS', 'archive header has a wrong checksum');
  const text = (from: number, length: number) => trimNul(header.subarray(from, from + length)).toString('latin1');
  const prefix = text(257, 5) === 'ustar' && text(257, 8) !== 'ustar  ' ? text(345, 155) : '';
  const size = readNumber(header, 124, 12);
  if (!Number.isSafeInteger(size) || size < 0)
    throw new ImageError('DATA_LOSS', 'archive entry has an impossible size');
  return {
    path: prefix ? `${prefix}/${text(0, 100)}` : text(0, 100),
    mode: readNumber(header, 100, 8),
    uid: readNumber(header, 108, 8),
    gid: readNumber(header, 116, 8),
    size,
    mtime: readNumber(header, 136, 12),
    type: String.fromCharCode(header[156]!),
    linkPath: text(157, 100),
    major: readNumber(header, 329, 8),
    minor: readNumber(header, 337, 8),
  };
}

/** A number in octal text, or in base 256 when the first bit is set (GNU). */
function readNumber(header: Buffer, from: number, length: number): number {
  if ((header[from]! & 0x80) !== 0) {
    // Two's complement: the second bit is the sign.
    let value = BigInt(header[from]! & 0x3f);
    for (let at = from + 1; at < from + length; at++) value = (value << 8n) | BigInt(header[at]!);
    return Number((header[from]! & 0x40) !== 0 ? value - (1n << BigInt(length * 8 - 2)) : value);
  }
  const text = header.toString('latin1', from, from + length).replaceAll(/[\0 ]/g, '');
  return /^[0-7]*$/.test(text) ? Number.parseInt(text || '0', 8) : Number.NaN;
}

/** What comes before the first NUL. */
export function trimNul(bytes: Buffer): Buffer {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes : bytes.subarray(0, end);
}

/** Records of a pax header: `LENGTH KEY=VALUE\n`; values may hold any bytes. */
export function parsePax(content: Buffer): Map<string, Buffer> {
  const records = new Map<string, Buffer>();
  const sparse: Buffer[] = [];
  for (let at = 0; at < content.length; ) {
    const space = content.indexOf(0x20, at);
    const digits = space < 0 ? '' : content.toString('latin1', at, space);
    const length = /^[0-9]{1,7}$/.test(digits) ? Number(digits) : 0;
    // A record has at least its length, a space, a key of one letter, `=` and the line's end.
    const isWhole = length >= digits.length + 4 && at + length <= content.length && content[at + length - 1] === 0x0a;
    const record = isWhole ? content.subarray(space + 1, at + length - 1) : Buffer.alloc(0);
    const equals = record.indexOf(0x3d);
    if (equals <= 0) throw new ImageError('DATA_LOSS', 'archive has a damaged pax header');
    const key = record.toString('utf8', 0, equals);
    const value = Buffer.from(record.subarray(equals + 1));
    // GNU's first sparse form says the same two keys again and again: they are a list.
    if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') sparse.push(value);
    else records.set(key, value);
    at += length;
  }
  if (sparse.length > 0) records.set('GNU.sparse.map', Buffer.from(sparse.join(',')));
  return records;
}

/** Pairs of numbers as the pieces of a sparse file. @throws ImageError unless they rise and stay within the file */
export function toSegments(numbers: readonly number[], size: number, path: string): Segment[] {
  const segments: Segment[] = [];
  let end = 0;
  for (let at = 0; at < numbers.length; at += 2) {
    const [offset, length] = [numbers[at]!, numbers[at + 1] ?? Number.NaN];
    if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < end || length < 0)
      throw badSparse(path);
    end = offset + length;
    if (end > size) throw badSparse(path);
    segments.push({ offset, length });
  }
  return segments;
}

/** The map of a sparse file does not make sense. */
export function badSparse(path: string): ImageError {
  return new ImageError('DATA_LOSS', `archive entry ${showByteString(path)} has a damaged map of its holes`);
}

/**
 * The pieces that a GNU sparse header (type `S`) names, four in the header and 21 in each block that continues it, and
 * the size of the file.
 */
export function parseOldSparse(header: Buffer): { numbers: number[]; more: boolean; size: number } {
  return {
    numbers: sparseNumbers(header, 386, 4),
    more: header[482] !== 0 && header[482] !== 0x30,
    size: readNumber(header, 483, 12),
  };
}

/** A block that continues a GNU sparse header. */
export function parseSparseBlock(bytes: Buffer): { numbers: number[]; more: boolean } {
  return { numbers: sparseNumbers(bytes, 0, 21), more: bytes[504] !== 0 && bytes[504] !== 0x30 };
}

function sparseNumbers(bytes: Buffer, from: number, count: number): number[] {
  const numbers: number[] = [];
  for (let at = 0; at < count; at++) {
    const place = from + at * 24;
    if (bytes[place] === 0) break;
    numbers.push(readNumber(bytes, place, 12), readNumber(bytes, place + 12, 12));
  }
  return numbers;
}
