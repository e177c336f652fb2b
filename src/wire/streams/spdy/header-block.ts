import { constants, deflateRawSync, inflateRawSync } from 'node:zlib';
import { headerDictionary } from './dictionary.ts';
import { SpdyError } from './errors.ts';

/** Headers of a stream; names are lower case, several values of one name are joined by NUL in the frame. */
export type StreamHeaders = Record<string, string>;

/** Most bytes of a header block, packed and unpacked. */
export const maximumHeaderBytes = 64 * 1024;
const windowBytes = 32 * 1024;
const maximumPairs = 256;

/** zlib header for a 32 KiB window, no preset dictionary. */
const zlibHeader = Buffer.from([0x78, 0x9c]);

/**
 * Packs header blocks for one direction of a session. All blocks are one zlib stream; each is a deflate block of its own
 * that refers to nothing before it, so nothing has to be kept here.
 */
export class HeaderPacker {
  #started = false;

  pack(headers: StreamHeaders): Buffer {
    const entries = Object.entries(headers);
    const parts: Buffer[] = [uint32(entries.length)];
    for (const [name, value] of entries) {
      for (const text of [name.toLowerCase(), value]) {
        const bytes = Buffer.from(text, 'latin1');
        parts.push(uint32(bytes.length), bytes);
      }
    }
    const block = deflateRawSync(Buffer.concat(parts), { finishFlush: constants.Z_SYNC_FLUSH });
    const packed = this.#started ? block : Buffer.concat([zlibHeader, block]);
    this.#started = true;
    return packed;
  }
}

/**
 * Unpacks the header blocks of one direction. The peer flushes after every block, so each ends on a byte border and can
 * be inflated alone with what came before it as the dictionary.
 */
export class HeaderUnpacker {
  #history: Buffer | undefined;

  /** @throws SpdyError when the block is no such thing or larger than is sensible; the session cannot go on after it */
  unpack(packed: Buffer): StreamHeaders {
    const block = this.#history === undefined ? this.#readZlibHeader(packed) : packed;
    const history = this.#history!;
    let plain: Buffer;
    try {
      plain = inflateRawSync(block, {
        finishFlush: constants.Z_SYNC_FLUSH,
        maxOutputLength: maximumHeaderBytes,
        ...(history.length > 0 ? { dictionary: history } : {}),
      });
    } catch (cause) {
      throw new SpdyError('PROTOCOL_ERROR', 'headers cannot be inflated', { cause });
    }
    this.#history = Buffer.concat([history, plain]).subarray(-windowBytes);
    return readPairs(plain);
  }

  #readZlibHeader(packed: Buffer): Buffer {
    const [method, flags] = packed;
    if (method === undefined || flags === undefined || (method & 0x0f) !== 8 || ((method << 8) | flags) % 31 !== 0)
      throw new SpdyError('PROTOCOL_ERROR', 'headers are not a zlib stream');
    const preset = (flags & 0x20) !== 0;
    this.#history = preset ? headerDictionary : Buffer.alloc(0);
    return packed.subarray(preset ? 6 : 2);
  }
}

function readPairs(plain: Buffer): StreamHeaders {
  let at = 0;
  const number = (): number => {
    if (at + 4 > plain.length) throw new SpdyError('PROTOCOL_ERROR', 'headers are cut short');
    at += 4;
    return plain.readUInt32BE(at - 4);
  };
  const text = (): string => {
    const length = number();
    if (at + length > plain.length) throw new SpdyError('PROTOCOL_ERROR', 'headers are cut short');
    at += length;
    return plain.toString('latin1', at - length, at);
  };
  const count = number();
  if (count > maximumPairs) throw new SpdyError('PROTOCOL_ERROR', `${count} headers are too many`);
  const headers: StreamHeaders = Object.create(null) as StreamHeaders;
  for (let i = 0; i < count; i++) {
    const name = text().toLowerCase();
    headers[name] = text();
  }
  return headers;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
