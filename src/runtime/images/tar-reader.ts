import { ImageError } from './image-error.ts';
import {
  badSparse,
  block,
  parseHeader,
  parseOldSparse,
  parsePax,
  parseSparseBlock,
  type Segment,
  showByteString,
  type TarHeader,
  toSegments,
  trimNul,
} from './tar-header.ts';

/** One entry of a tar archive; its content follows in the reader. Names are byte strings (tar-header.ts). */
export interface TarEntry {
  path: string;
  kind: 'file' | 'hardlink' | 'symlink' | 'character' | 'block' | 'directory' | 'fifo';
  mode: number;
  uid: number;
  gid: number;
  /** Of the file, with its holes. */
  size: number;
  /** Where content goes in a file with holes; content is these pieces, one after another. */
  segments?: Segment[];
  /** Seconds since 1970. */
  mtime: number;
  linkPath: string;
  major: number;
  minor: number;
  /** Extended attributes (pax records SCHILY.xattr.*). */
  attributes: Map<string, Buffer>;
}

const kinds: Record<string, TarEntry['kind']> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  S: 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'character',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
};

/** Longest extension record (names, attributes, maps of holes) that is read into memory, bytes. */
const longestExtension = 1024 * 1024;

/** Largest user or group number (0xffffffff means "unchanged" to chown). */
const largestOwner = 0xfffffffe;
/** Times that every file system here can hold: 1901 to 2446. */
const times = { earliest: -(2 ** 31), latest: 15_032_385_535 };

/** How an archive is read. */
export interface TarReaderOptions {
  /** Gets all bytes of the archive but the content of files, in order. */
  onRest?: (bytes: Buffer) => void;
  /** The archive is such a rest: the content of files with these paths is not in it. */
  isElsewhere?: (path: string) => boolean;
}

/**
 * Reads a tar stream: ustar, pax (POSIX.1-2001), GNU long names, sparse files in GNU's old form and the three pax forms.
 * Call `close` when it is not read to its end.
 */
export class TarReader {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #options: TarReaderOptions;
  #buffer: Buffer = Buffer.alloc(0);
  #left = 0;
  #padding = 0;

  constructor(source: AsyncIterable<Uint8Array>, options: TarReaderOptions = {}) {
    this.#source = source[Symbol.asyncIterator]();
    this.#options = options;
  }

  /** The next entry, skipping what was not read of the last; undefined at the end. @throws ImageError for a damaged archive */
  async next(): Promise<TarEntry | undefined> {
    let extension: Map<string, Buffer> = new Map();
    for (;;) {
      await this.#skip();
      const header = await this.#read(block, true);
      if (!header || isEmpty(header)) return undefined;
      const entry = parseHeader(header);
      this.#left = entry.size;
      this.#padding = (block - (entry.size % block)) % block;
      if (entry.type === 'x') extension = parsePax(await this.#extension());
      else if (entry.type === 'g') await this.#extension();
      else if (entry.type === 'L') extension.set('path', trimNul(await this.#extension()));
      else if (entry.type === 'K') extension.set('linkpath', trimNul(await this.#extension()));
      else return this.#complete(entry, extension, entry.type === 'S' ? Buffer.from(header) : undefined);
    }
  }

  /** The content of the current entry, in pieces as they come. */
  async *content(): AsyncIterable<Buffer> {
    while (this.#left > 0) {
      if (this.#buffer.length === 0 && !(await this.#fill())) throw cutShort();
      yield this.#takeContent();
    }
  }

  /** The content of the current entry if all of it is here already: saves small files the waiting. */
  contentAtOnce(): Buffer | undefined {
    if (this.#buffer.length < this.#left) return undefined;
    return this.#left > 0 ? this.#takeContent() : this.#buffer.subarray(0, 0);
  }

  /** Reads to the end of the stream, so that its digest is complete. */
  async drain(): Promise<void> {
    do {
      if (this.#buffer.length > 0) this.#options.onRest?.(this.#buffer);
      this.#buffer = Buffer.alloc(0);
    } while (await this.#fill());
  }

  /** Lets go of the stream, also in the middle of it. */
  async close(): Promise<void> {
    await this.#source.return?.();
  }

  async #complete(header: TarHeader, extension: Map<string, Buffer>, oldSparse?: Buffer): Promise<TarEntry> {
    const text = (key: string) => extension.get(key)?.toString('latin1');
    const number = (key: string, fallback: number, least = 0, most = Number.MAX_SAFE_INTEGER) => {
      // An empty value takes the record back (POSIX.1-2001, pax).
      const value = text(key) ? Number(text(key)) : fallback;
      if (value >= least && value <= most) return value;
      throw new ImageError('DATA_LOSS', `archive entry ${showByteString(header.path)} has an impossible ${key}`);
    };
    const kind = kinds[header.type];
    if (!kind)
      throw new ImageError(
        'INVALID_ARGUMENT',
        `archive entry ${showByteString(header.path)} of type ${JSON.stringify(header.type)} is not supported`,
      );
    const path = text('GNU.sparse.name') ?? text('path') ?? header.path;
    const stored = number('size', header.size);
    if (!Number.isInteger(stored)) throw new ImageError('DATA_LOSS', 'archive entry has an impossible size');
    // A link's size is that of its target: no content follows (pax(1), ustar). On the others it is skipped.
    this.#left = kind === 'hardlink' || kind === 'symlink' ? 0 : stored;
    this.#padding = (block - (this.#left % block)) % block;
    const sparse =
      kind === 'file'
        ? oldSparse
          ? await this.#oldSparse(oldSparse, path)
          : await this.#paxSparse(extension, path, stored)
        : undefined;
    const isDirectory = kind === 'directory' || (kind === 'file' && path.endsWith('/'));
    // Without content there is the rest only: what is not on disk for it belongs to that.
    if (kind === 'file' && !isDirectory && this.#options.isElsewhere?.(path)) this.#left = 0;
    const attributes = new Map<string, Buffer>();
    for (const [key, value] of extension)
      if (key.startsWith('SCHILY.xattr.')) attributes.set(key.slice('SCHILY.xattr.'.length), value);
    return {
      path,
      kind: isDirectory ? 'directory' : kind,
      mode: header.mode & 0o7777,
      uid: number('uid', header.uid, 0, largestOwner),
      gid: number('gid', header.gid, 0, largestOwner),
      size: sparse?.size ?? stored,
      ...(sparse ? { segments: sparse.segments } : {}),
      mtime: Math.min(Math.max(number('mtime', header.mtime, -Infinity, Infinity), times.earliest), times.latest),
      linkPath: text('linkpath') ?? header.linkPath,
      major: number('SCHILY.devmajor', header.major, 0, 0xffffffff),
      minor: number('SCHILY.devminor', header.minor, 0, 0xffffffff),
      attributes,
    };
  }

  /** GNU's own form: the map is in the header and in blocks that follow it; they do not count as content. */
  async #oldSparse(header: Buffer, path: string): Promise<{ size: number; segments: Segment[] }> {
    const { numbers, more, size } = parseOldSparse(header);
    for (let again = more; again; ) {
      const next = parseSparseBlock((await this.#read(block, false))!);
      numbers.push(...next.numbers);
      again = next.more;
      if (numbers.length > longestExtension / 12) throw badSparse(path);
    }
    return this.#checkedSparse(numbers, size, path);
  }

  /** The pax forms: 0.0 and 0.1 have the map in the records, 1.0 in text before the content. */
  async #paxSparse(
    extension: Map<string, Buffer>,
    path: string,
    stored: number,
  ): Promise<{ size: number; segments: Segment[] } | undefined> {
    const number = (key: string) => (extension.has(key) ? Number(extension.get(key)!.toString()) : undefined);
    if (number('GNU.sparse.major') === 1) {
      const size = number('GNU.sparse.realsize') ?? Number.NaN;
      const before = this.#left;
      const numbers = await this.#mapBeforeContent(path);
      const taken = before - this.#left;
      if (taken > stored) throw badSparse(path);
      return this.#checkedSparse(numbers, size, path);
    }
    const map = extension.get('GNU.sparse.map')?.toString();
    if (map === undefined) {
      if ([...extension.keys()].some((key) => key.startsWith('GNU.sparse.'))) throw badSparse(path);
      return undefined;
    }
    return this.#checkedSparse(map === '' ? [] : map.split(',').map(Number), number('GNU.sparse.size') ?? stored, path);
  }

  #checkedSparse(numbers: number[], size: number, path: string): { size: number; segments: Segment[] } {
    if (!Number.isSafeInteger(size) || size < 0) throw badSparse(path);
    const segments = toSegments(numbers, size, path);
    if (segments.reduce((sum, { length }) => sum + length, 0) !== this.#left) throw badSparse(path);
    return { size, segments };
  }

  /** Lines of numbers, how many pairs and then the pairs, filled up to whole blocks. */
  async #mapBeforeContent(path: string): Promise<number[]> {
    let text = '';
    let lines = 0;
    for (;;) {
      if (this.#left < block || text.length > longestExtension) throw badSparse(path);
      const piece = (await this.#read(block, false))!;
      this.#left -= block;
      text += piece.toString('latin1');
      for (const byte of piece) if (byte === 0x0a) lines++;
      const count = /^(\d{1,7})\n/.exec(text)?.[1];
      if (count === undefined) throw badSparse(path);
      if (lines < 2 * Number(count) + 1) continue;
      return text
        .split('\n')
        .slice(1, 2 * Number(count) + 1)
        .map(Number);
    }
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
      if (this.#buffer.length === 0 && !(await this.#fill())) throw cutShort();
      const step = Math.min(skip, this.#buffer.length);
      this.#options.onRest?.(this.#buffer.subarray(0, step));
      this.#buffer = this.#buffer.subarray(step);
      skip -= step;
    }
  }

  async #read(length: number, mayEnd: boolean): Promise<Buffer | undefined> {
    while (this.#buffer.length < length) {
      const empty = this.#buffer.length === 0;
      if (await this.#fill()) continue;
      if (mayEnd && empty) return undefined;
      throw cutShort();
    }
    const piece = this.#buffer.subarray(0, length);
    this.#buffer = this.#buffer.subarray(length);
    this.#options.onRest?.(piece);
    return piece;
  }

  #takeContent(): Buffer {
    const piece = this.#buffer.subarray(0, Math.min(this.#left, this.#buffer.length));
    this.#buffer = this.#buffer.subarray(piece.length);
    this.#left -= piece.length;
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

function isEmpty(header: Buffer): boolean {
  return header[0] === 0 && header.every((byte) => byte === 0);
}

function cutShort(): ImageError {
  return new ImageError('DATA_LOSS', 'unexpected EOF in archive');
}
