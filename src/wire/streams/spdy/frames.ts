import { SpdyError } from './errors.ts';
import { maximumHeaderBytes } from './header-block.ts';

/** Types of control frames (SPDY draft 3.1, section 2.6). */
export const frameTypes = {
  synStream: 1,
  synReply: 2,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  headers: 8,
  windowUpdate: 9,
} as const;

/** The setting that says how much may be sent on a new stream. */
export const initialWindowSetting = 7;
/** The peer sends nothing more on this stream. */
export const flagFin = 0x01;
/** We may send nothing on this stream. */
export const flagUnidirectional = 0x02;

/** A frame as it is read. The bytes of a data frame come in pieces as they arrive; `fin` is with the last one. */
export type Frame =
  | { kind: 'synStream'; streamId: number; flags: number; block: Buffer }
  | { kind: 'synReply'; streamId: number; flags: number; block: Buffer }
  | { kind: 'headers'; streamId: number; flags: number; block: Buffer }
  | { kind: 'rstStream'; streamId: number; status: number }
  | { kind: 'settings'; entries: { id: number; value: number }[] }
  | { kind: 'ping'; id: number }
  | { kind: 'goAway'; lastStreamId: number; status: number }
  | { kind: 'windowUpdate'; streamId: number; delta: number }
  | { kind: 'data'; streamId: number; bytes: Buffer; fin: boolean }
  | { kind: 'unknown'; type: number };

/** Most bytes of a control frame: headers and what stands before them. */
const maximumControlBytes = maximumHeaderBytes + 64;
const identifier = (bytes: Buffer, at: number): number => bytes.readUInt32BE(at) & 0x7fffffff;

/** Cuts a byte stream into frames, however it was split. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);
  /** Pieces that have come since, while there are too few bytes for a frame. */
  #pieces: Buffer[] = [];
  #pieceBytes = 0;
  /** Bytes without which nothing can be read. */
  #need = 1;
  /** The data frame that is being read: its stream, bytes still to come, whether it is the last. */
  #data: { streamId: number; left: number; fin: boolean } | undefined;

  /** @throws SpdyError for bytes that are no frames; nothing after them can be read */
  *read(chunk: Buffer): Generator<Frame> {
    this.#pieces.push(chunk);
    this.#pieceBytes += chunk.length;
    if (this.#rest.length + this.#pieceBytes < this.#need) return;
    this.#rest =
      this.#rest.length === 0 && this.#pieces.length === 1 ? chunk : Buffer.concat([this.#rest, ...this.#pieces]);
    this.#pieces = [];
    this.#pieceBytes = 0;
    this.#need = 1;
    for (;;) {
      const frame = this.#data ? this.#readData(this.#data) : this.#readFrame();
      if (frame === 'more') return;
      if (frame) yield frame;
    }
  }

  #more(bytes: number): 'more' {
    this.#need = bytes;
    return 'more';
  }

  #take(length: number): Buffer {
    const bytes = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(length);
    return bytes;
  }

  #readData(data: { streamId: number; left: number; fin: boolean }): Frame | 'more' {
    if (data.left > 0 && this.#rest.length === 0) return 'more';
    const bytes = this.#take(Math.min(data.left, this.#rest.length));
    data.left -= bytes.length;
    if (data.left === 0) this.#data = undefined;
    return { kind: 'data', streamId: data.streamId, bytes, fin: data.fin && data.left === 0 };
  }

  /** Undefined: a data frame begins. */
  #readFrame(): Frame | 'more' | undefined {
    if (this.#rest.length < 8) return this.#more(8);
    const first = this.#rest.readUInt32BE(0);
    const flags = this.#rest[4]!;
    const length = this.#rest.readUIntBE(5, 3);
    if (first < 0x80000000) {
      this.#take(8);
      this.#data = { streamId: first, left: length, fin: (flags & flagFin) !== 0 };
      return undefined;
    }
    const version = (first >>> 16) & 0x7fff;
    if (version !== 3) throw new SpdyError('UNSUPPORTED_VERSION', `a frame of version ${version}`);
    if (length > maximumControlBytes) throw new SpdyError('FRAME_TOO_LARGE', `a control frame of ${length} bytes`);
    if (this.#rest.length < 8 + length) return this.#more(8 + length);
    this.#take(8);
    return parseControl(first & 0xffff, flags, this.#take(length));
  }
}

function parseControl(type: number, flags: number, body: Buffer): Frame {
  const need = (bytes: number): void => {
    if (body.length < bytes)
      throw new SpdyError('PROTOCOL_ERROR', `a control frame of type ${type} with ${body.length} bytes`);
  };
  switch (type) {
    case frameTypes.synStream:
      need(10);
      return { kind: 'synStream', streamId: identifier(body, 0), flags, block: body.subarray(10) };
    case frameTypes.synReply:
      need(4);
      return { kind: 'synReply', streamId: identifier(body, 0), flags, block: body.subarray(4) };
    case frameTypes.headers:
      need(4);
      return { kind: 'headers', streamId: identifier(body, 0), flags, block: body.subarray(4) };
    case frameTypes.rstStream:
      need(8);
      return { kind: 'rstStream', streamId: identifier(body, 0), status: body.readUInt32BE(4) };
    case frameTypes.settings:
      need(4);
      return { kind: 'settings', entries: parseSettings(body, need) };
    case frameTypes.ping:
      need(4);
      return { kind: 'ping', id: body.readUInt32BE(0) };
    case frameTypes.goAway:
      need(8);
      return { kind: 'goAway', lastStreamId: identifier(body, 0), status: body.readUInt32BE(4) };
    case frameTypes.windowUpdate:
      need(8);
      return { kind: 'windowUpdate', streamId: identifier(body, 0), delta: identifier(body, 4) };
    default:
      return { kind: 'unknown', type };
  }
}

function parseSettings(body: Buffer, need: (bytes: number) => void): { id: number; value: number }[] {
  const count = body.readUInt32BE(0);
  need(4 + count * 8);
  return Array.from({ length: count }, (_, index) => ({
    id: body.readUIntBE(4 + index * 8 + 1, 3),
    value: body.readUInt32BE(4 + index * 8 + 4),
  }));
}

function control(type: number, flags: number, ...parts: (number | Buffer)[]): Buffer {
  const bodies = parts.map((part) => {
    if (typeof part !== 'number') return part;
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(part);
    return bytes;
  });
  const length = bodies.reduce((sum, { length: one }) => sum + one, 0);
  const head = Buffer.alloc(8);
  head.writeUInt32BE((0x80030000 | type) >>> 0, 0);
  head[4] = flags;
  head.writeUIntBE(length, 5, 3);
  return Buffer.concat([head, ...bodies]);
}

/** Frames as they are sent. */
export const writeFrame = {
  synStream: (streamId: number, block: Buffer, flags = 0) =>
    control(frameTypes.synStream, flags, streamId, 0, Buffer.alloc(2), block),
  synReply: (streamId: number, block: Buffer) => control(frameTypes.synReply, 0, streamId, block),
  rstStream: (streamId: number, status: number) => control(frameTypes.rstStream, 0, streamId, status),
  settings: (id: number, value: number) => control(frameTypes.settings, 0, 1, id, value),
  ping: (id: number) => control(frameTypes.ping, 0, id),
  goAway: (lastStreamId: number, status: number) => control(frameTypes.goAway, 0, lastStreamId, status),
  windowUpdate: (streamId: number, delta: number) => control(frameTypes.windowUpdate, 0, streamId, delta),
  /** The eight bytes before the bytes of a data frame. */
  dataHead: (streamId: number, length: number, fin: boolean) => {
    const head = Buffer.alloc(8);
    head.writeUInt32BE(streamId, 0);
    head[4] = fin ? flagFin : 0;
    head.writeUIntBE(length, 5, 3);
    return head;
  },
};
