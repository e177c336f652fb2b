import { ImageError } from './image-error.ts';

/** One entry of a tar archive; its content follows in the reader. */
export interface TarEntry {
  path: string;
  kind: 'file' | 'hardlink' | 'symlink' | 'character' | 'block' | 'directory' | 'fifo';
  mode: number;
  uid: number;
  gid: number;
  size: number;
  /** Seconds since 1970. */
  mtime: number;
  linkPath: string;
  major: number;
  minor: number;
  /** Extended attributes (pax records SCHILY.xattr.*). */
  attributes: Map<string, Buffer>;
}

const block = 512;
const kinds: Record<string, TarEntry['kind']> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'character',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
};

/** Longest extension record (names, attributes) that is read into memory, bytes. */
const longestExtension = 1024 * 1024;

/** Largest user or group number (0xffffffff means "unchanged" to chown). */
const largestOwner = 0xfffffffe;
/** Times that every file system here can hold: 1901 to 2446. */
const times = { earliest: -(2 ** 31), latest: 15_032_385_535 };

/** Reads a tar stream: ustar, pax (POSIX.1-2001) and GNU long names. Call `close` when it is not read to its end. */
export class TarReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #buffer: Buffer = Buffer.alloc(0);
  #left = 0;
  #padding = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** The next entry, skipping what was not read of the last; undefined at the end. @throws ImageError for a damaged archive */
  async next(): Promise<TarEntry | undefined> {
    let extension: Map<string, Buffer> = new Map();
    for (;;) {
      await this.#skip();
      const header = await this.#read(block, true);
      if (!header || header.every((byte) => byte === 0)) return undefined;
      const entry = parseHeader(header);
      this.#left = entry.size;
      this.#padding = (block - (entry.size % block)) % block;
      if (entry.type === 'x') extension = parsePax(await this.#extension());
      else if (entry.type === 'g') await this.#extension();
      else if (entry.type === 'L') extension.set('path', trimNul(await this.#extension()));
      else if (entry.type === 'K') extension.set('linkpath', trimNul(await this.#extension()));
      else return this.#complete(entry, extension);
    }
  }

  /** The content of the current entry, in pieces as they come. */
  async *content(): AsyncIterable<Buffer> {
    while (this.#left > 0) {
      if (this.#buffer.length === 0 && !(await this.#fill()))
        throw new ImageError('DATA_LOSS', 'unexpected EOF in archive');
      const piece = this.#buffer.subarray(0, Math.min(this.#left, this.#buffer.length));
      this.#buffer = this.#buffer.subarray(piece.length);
      this.#left -= piece.length;
      yield piece;
    }
  }

  /** Reads to the end of the stream, so that its digest is complete. */
  async drain(): Promise<void> {
    this.#buffer = Buffer.alloc(0);
    while (await this.#fill()) this.#buffer = Buffer.alloc(0);
  }

  /** Lets go of the stream, also in the middle of it. */
  async close(): Promise<void> {
    await this.#source.return?.();
  }

  #complete(header: ReturnType<typeof parseHeader>, extension: Map<string, Buffer>): TarEntry {
    const text = (key: string) => extension.get(key)?.toString();
    const number = (key: string, fallback: number, least = 0, most = Number.MAX_SAFE_INTEGER) => {
      // An empty value takes the record back (POSIX.1-2001, pax).
      const value = text(key) ? Number(text(key)) : fallback;
      if (value >= least && value <= most) return value;
      throw new ImageError('DATA_LOSS', `archive entry ${JSON.stringify(header.path)} has an impossible ${key}`);
    };
    const kind = kinds[header.type];
    if (!kind || [...extension.keys()].some((key) => key.startsWith('GNU.sparse'))) {
      throw new ImageError(
        'INVALID_ARGUMENT',
        `archive entry ${JSON.stringify(header.path)} of type ${JSON.stringify(header.type)} is not supported`,
      );
    }
    const size = number('size', header.size);
    if (!Number.isInteger(size)) throw new ImageError('DATA_LOSS', 'archive entry has an impossible size');
    // A link's size is that of its target: no content follows (pax(1), ustar). On the others it is skipped.
    this.#left = kind === 'hardlink' || kind === 'symlink' ? 0 : size;
    this.#padding = (block - (this.#left % block)) % block;
    const attributes = new Map<string, Buffer>();
    for (const [key, value] of extension)
      if (key.startsWith('SCHILY.xattr.')) attributes.set(key.slice('SCHILY.xattr.'.length), value);
    return {
      path: text('path') ?? header.path,
      kind: kind === 'file' && (text('path') ?? header.path).endsWith('/') ? 'directory' : kind,
      mode: header.mode & 0o7777,
      uid: number('uid', header.uid, 0, largestOwner),
      gid: number('gid', header.gid, 0, largestOwner),
      size,
      mtime: Math.min(Math.max(number('mtime', header.mtime, -Infinity, Infinity), times.earliest), times.latest),
      linkPath: text('linkpath') ?? header.linkPath,
      major: number('SCHILY.devmajor', header.major, 0, 0xffffffff),
      minor: number('SCHILY.devminor', header.minor, 0, 0xffffffff),
      attributes,
    };
  }

  async #extension(): Promise<Buffer> {
    if (this.#left > longestExtension)
      throw new ImageError('INVALID_ARGUMENT', `archive extension of ${this.#left} bytes is too long`);
    const content = (await this.#read(this.#left, false))!;
    this.#left = 0;
    return Buffer.from(content);
  }

  async #skip(): Promise<void> {
    let skip = this.#left + this.#padding;
    this.#left = 0;
    this.#padding = 0;
    while (skip > 0) {
      if (this.#buffer.length === 0 && !(await this.#fill()))
        throw new ImageError('DATA_LOSS', 'unexpected EOF in archive');
      const step = Math.min(skip, this.#buffer.length);
      this.#buffer = this.#buffer.subarray(step);
      skip -= step;
    }
  }

  async #read(length: number, mayEnd: boolean): Promise<Buffer | undefined> {
    while (this.#buffer.length < length) {
      const empty = this.#buffer.length === 0;
      if (await this.#fill()) continue;
      if (mayEnd && empty) return undefined;
      throw new ImageError('DATA_LOSS', 'unexpected EOF in archive');
    }
    const piece = this.#buffer.subarray(0, length);
    this.#buffer = this.#buffer.subarray(length);
    return piece;
  }

  async #fill(): Promise<boolean> {
    const { value, done } = await this.#source.next();
    if (done) return false;
    const chunk = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
    return true;
  }
}

function parseHeader(header: Buffer) {
  let sum = 8 * 0x20;
  for (let at = 0; at < block; at++) if (at < 148 || at >= 156) sum += header[at]!;
  if (sum !== readNumber(header, 148, 8)) throw new ImageError('DATA_LOSS', 'archive header has a wrong checksum');
  const text = (from: number, length: number) => trimNul(header.subarray(from, from + length)).toString();
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

function trimNul(bytes: Buffer): Buffer {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes : bytes.subarray(0, end);
}

/** Records of a pax header: `LENGTH KEY=VALUE\n`; values may hold any bytes. */
function parsePax(content: Buffer): Map<string, Buffer> {
  const records = new Map<string, Buffer>();
  for (let at = 0; at < content.length; ) {
    const space = content.indexOf(0x20, at);
    const digits = space < 0 ? '' : content.toString('latin1', at, space);
    const length = /^[0-9]{1,7}$/.test(digits) ? Number(digits) : 0;
    const record = content.subarray(space + 1, at + length - 1);
    const equals = record.indexOf(0x3d);
    if (equals <= 0 || at + length > content.length || content[at + length - 1] !== 0x0a)
      throw new ImageError('DATA_LOSS', 'archive has a damaged pax header');
    records.set(record.toString('utf8', 0, equals), Buffer.from(record.subarray(equals + 1)));
    at += length;
  }
  return records;
}
