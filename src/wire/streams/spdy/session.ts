import type { Duplex } from 'node:stream';
import { type Clock, systemClock, type Timer } from '../../../async/index.ts';
import { resetCodeName, resetCodes, SpdyError } from './errors.ts';
import { type Frame, FrameReader, flagFin, flagUnidirectional, initialWindowSetting, writeFrame } from './frames.ts';
import { HeaderPacker, HeaderUnpacker, type StreamHeaders } from './header-block.ts';
import { SendWindows } from './send-windows.ts';
import { SpdyStream, type StreamOwner } from './stream.ts';

/** How a session is held. */
export interface SpdySessionOptions {
  /** Servers take odd stream numbers from the peer and open even ones; clients the other way round. */
  role: 'server' | 'client';
  /** Told of streams that the peer opens; without it they are refused. */
  onStream?: (stream: SpdyStream) => void;
  /** Told once, when the session is over. */
  onClose?: (error?: Error) => void;
  /**
   * A stream whose reader has taken nothing for so long, milliseconds, is reset when others have to wait because of it:
   * with a peer that knows no windows a full stream holds up the whole connection. Default: they wait.
   */
  stallTimeoutMs?: number;
  clock?: Clock;
}

/** Most streams of the peer at once. */
const maximumStreams = 1000;
/** What a peer may send on a stream that is not read. */
const windowBytes = 256 * 1024;
/**
 * Unread bytes of one stream and of all, beyond which nothing more is read from the connection. Only peers that know no
 * windows get there; others must not be stopped, for their window updates would not be heard either.
 */
const unreadLimit = { stream: 1 << 20, session: 64 << 20 };
/** Bytes that a reader takes before the peer is told of it. */
const updateEvery = 32 * 1024;
/** Longest piece of a data frame, so that streams take turns. */
const pieceBytes = 32 * 1024;
/** Answers that may wait for a peer which does not read them; beyond that it is not read either. */
const answerLimit = 256 * 1024;
/** A number that no peer gives to a ping of its own, or it would have sent millions; plus its parity. */
const unaskedPing = 0x7fff_fff0;
/** How long the peer has to close after we have said goodbye, milliseconds. */
const lingerMs = 5_000;

/**
 * A SPDY/3.1 session on a connection. Servers and clients of container streams in the field use no flow control: ours
 * keeps to the windows of peers that do, and is held up by the connection with those that do not.
 */
export class SpdySession implements StreamOwner {
  readonly #transport: Duplex;
  readonly #options: SpdySessionOptions;
  readonly #streams = new Map<number, SpdyStream>();
  readonly #frames = new FrameReader();
  readonly #packer = new HeaderPacker();
  readonly #unpacker = new HeaderUnpacker();
  readonly #windows: SendWindows;
  /** Bytes read since the peer was last told, by stream; 0 is the session. */
  readonly #read = new Map<number, number>();
  #unread = 0;
  /** Bytes of control frames that the connection has not taken yet. */
  #unsent = 0;
  #stall: Timer | undefined;
  #paused = false;
  #lastPeerStream = 0;
  #nextStream: number;
  #state: 'open' | 'closing' | 'closed' = 'open';
  #linger: Timer | undefined;
  /** When the peer was last heard or data was last sent: monotonic milliseconds. */
  lastActivity: number;

  constructor(transport: Duplex, options: SpdySessionOptions, head?: Buffer) {
    this.#transport = transport;
    this.#options = options;
    this.#nextStream = options.role === 'client' ? 1 : 2;
    this.lastActivity = this.#clock.monotonic();
    this.#windows = new SendWindows((streamId, bytes, callback) => this.#sendPiece(streamId, bytes, callback));
    transport.on('error', (error) => this.#onClosed(error));
    transport.on('close', () => this.#onClosed());
    transport.on('end', () => this.#onClosed());
    transport.on('data', (chunk: Buffer) => this.#onData(chunk));
    this.#write(writeFrame.settings(initialWindowSetting, windowBytes));
    if (head?.length) this.#onData(head);
  }

  get #clock(): Clock {
    return this.#options.clock ?? systemClock;
  }

  /** Numbers that the peer gives, modulo 2. */
  get #peerParity(): number {
    return this.#options.role === 'server' ? 1 : 0;
  }

  /** Streams that are open now. */
  get streamCount(): number {
    return this.#streams.size;
  }

  /** Opens a stream; writes wait until the peer has accepted it. @throws SpdyError when the session is over */
  open(headers: StreamHeaders, options: { finished?: boolean } = {}): SpdyStream {
    if (this.#state !== 'open') throw new SpdyError('SESSION_CLOSED', 'the connection was closed');
    const id = this.#nextStream;
    this.#nextStream += 2;
    const finished = options.finished ?? false;
    const stream = new SpdyStream(this, id, headers, { accepted: false, peerFinished: false, finished });
    this.#streams.set(id, stream);
    this.#windows.add(id);
    this.#write(writeFrame.synStream(id, this.#packer.pack(headers), finished ? flagFin : 0));
    return stream;
  }

  /**
   * Writes something that the peer must ignore: the answer to a ping that it has never sent. (To a ping it would have to
   * answer, and a peer whose own writing is held up would then not read any more either.)
   */
  beat(): void {
    if (this.#state === 'open') this.#write(writeFrame.ping(unaskedPing + this.#peerParity));
  }

  /** Says goodbye after everything that was written, and waits a little for the peer to close. */
  close(status = 0): void {
    if (this.#state !== 'open') return;
    this.#state = 'closing';
    if (!this.#transport.destroyed) this.#transport.end(writeFrame.goAway(this.#lastPeerStream, status));
    this.#resume(true);
    // A connection that is closed with bytes unread is reset, and the peer may lose what we sent last.
    this.#linger = this.#clock.after(lingerMs, () => this.#transport.destroy());
  }

  /** Ends everything at once. */
  destroy(error?: Error): void {
    this.#transport.destroy();
    this.#onClosed(error);
  }

  sendData(stream: SpdyStream, bytes: Buffer, callback: (error?: Error | null) => void): void {
    if (this.#state === 'closed') return callback(new SpdyError('SESSION_CLOSED', 'the connection was closed'));
    this.#windows.send(stream.id, bytes, callback);
  }

  sendFin(stream: SpdyStream, callback: (error?: Error | null) => void): void {
    if (this.#state === 'closed' || !this.#transport.writable) return callback();
    this.#transport.write(writeFrame.dataHead(stream.id, 0, true), callback);
  }

  taken(stream: SpdyStream, bytes: number): void {
    this.#unread -= bytes;
    stream.takenAt = this.#clock.monotonic();
    if (this.#streams.has(stream.id)) this.#grant(stream.id, bytes);
    this.#resume(false);
  }

  /** Lets the peer send as much again, told in larger steps. Stream 0 is the session. */
  #grant(streamId: number, bytes: number): void {
    const read = (this.#read.get(streamId) ?? 0) + bytes;
    const tell = read >= updateEvery;
    this.#read.set(streamId, tell ? 0 : read);
    if (tell) this.#write(writeFrame.windowUpdate(streamId, read));
  }

  ended(stream: SpdyStream, reset: boolean): void {
    if (!this.#streams.delete(stream.id)) return;
    this.#read.delete(stream.id);
    this.#windows.remove(stream.id);
    if (reset && this.#state === 'open') this.#write(writeFrame.rstStream(stream.id, resetCodes.CANCEL));
    this.#resume(false);
  }

  #write(bytes: Buffer): void {
    if (!this.#transport.writable) return;
    this.#unsent += bytes.length;
    this.#transport.write(bytes, () => {
      this.#unsent -= bytes.length;
      this.#resume(false);
    });
  }

  #sendPiece(streamId: number, bytes: Buffer, callback?: (error?: Error | null) => void): void {
    this.lastActivity = this.#clock.monotonic();
    if (!this.#transport.writable) return callback?.(new SpdyError('SESSION_CLOSED', 'the connection was closed'));
    this.#transport.cork();
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      const piece = bytes.subarray(at, at + pieceBytes);
      this.#transport.write(writeFrame.dataHead(streamId, piece.length, false));
      this.#transport.write(piece, at + pieceBytes >= bytes.length ? callback : undefined);
    }
    this.#transport.uncork();
  }

  #onData(chunk: Buffer): void {
    if (this.#state !== 'open') return;
    try {
      for (const frame of this.#frames.read(chunk)) this.#onFrame(frame);
    } catch (error) {
      if (!(error instanceof SpdyError)) throw error;
      // GOAWAY knows only one kind of protocol error.
      this.close(1);
      this.#onClosed(error);
      return;
    }
    if (this.#paused || !this.#isFull()) return;
    this.#paused = true;
    this.#transport.pause();
    this.#watchStall();
  }

  #watchStall(): void {
    const { stallTimeoutMs } = this.#options;
    if (stallTimeoutMs === undefined) return;
    this.#stall = this.#clock.after(stallTimeoutMs, () => {
      const since = this.#clock.monotonic() - stallTimeoutMs;
      const stuck = [...this.#streams.values()].filter(
        ({ queuedBytes, takenAt }) => queuedBytes > 0 && takenAt <= since,
      );
      const [worst] = stuck.sort((one, other) => other.queuedBytes - one.queuedBytes);
      if (this.#paused && this.#streams.size > 2) worst?.destroy(new SpdyError('FLOW_CONTROL_ERROR', 'nobody reads'));
      if (this.#paused) this.#watchStall();
    });
  }

  #isFull(): boolean {
    if (this.#unsent > answerLimit) return true;
    if (this.#unread > unreadLimit.session) return true;
    if (this.#unread <= unreadLimit.stream) return false;
    for (const { queuedBytes } of this.#streams.values()) if (queuedBytes > unreadLimit.stream) return true;
    return false;
  }

  #resume(always: boolean): void {
    if (!always && (!this.#paused || this.#isFull())) return;
    this.#paused = false;
    this.#stall?.cancel();
    this.#transport.resume();
  }

  #onFrame(frame: Frame): void {
    // Numbers of our parity are answers, and we have asked nothing: the peer has written them only to write.
    const isAnswer = frame.kind === 'ping' && frame.id % 2 !== this.#peerParity;
    if (!isAnswer) this.lastActivity = this.#clock.monotonic();
    switch (frame.kind) {
      case 'data':
        return this.#onStreamData(frame.streamId, frame.bytes, frame.fin);
      case 'synStream':
        return this.#onSynStream(frame.streamId, frame.flags, this.#unpacker.unpack(frame.block));
      case 'synReply':
        this.#unpacker.unpack(frame.block);
        this.#streams.get(frame.streamId)?.receiveReply();
        if (frame.flags & flagFin) this.#onStreamData(frame.streamId, Buffer.alloc(0), true);
        return;
      case 'headers':
        // Nothing uses more headers, but they belong to the compressed stream of all of them.
        this.#unpacker.unpack(frame.block);
        if (frame.flags & flagFin) this.#onStreamData(frame.streamId, Buffer.alloc(0), true);
        return;
      case 'rstStream': {
        const code = resetCodeName(frame.status);
        this.#streams.get(frame.streamId)?.receiveReset(new SpdyError(code, 'the peer has reset the stream'));
        return;
      }
      case 'settings':
        for (const { id, value } of frame.entries) if (id === initialWindowSetting) this.#windows.setInitial(value);
        return;
      case 'ping':
        if (!isAnswer) this.#write(writeFrame.ping(frame.id));
        return;
      case 'windowUpdate':
        if (this.#windows.update(frame.streamId, frame.delta)) return;
        if (frame.streamId === 0) throw new SpdyError('FLOW_CONTROL_ERROR', 'the window of the session overflows');
        this.#streams.get(frame.streamId)?.destroy(new SpdyError('FLOW_CONTROL_ERROR', 'a window overflows'));
        return;
      case 'goAway':
      case 'unknown':
        // After a goodbye the peer opens nothing more; what is open goes on until the connection ends.
        return;
    }
  }

  #onStreamData(streamId: number, bytes: Buffer, fin: boolean): void {
    const stream = this.#streams.get(streamId);
    // The session's window is given back at once: a stream that nobody reads must not use up the share of the others.
    this.#grant(0, bytes.length);
    this.#unread += bytes.length;
    if (stream?.queuedBytes === 0) stream.takenAt = this.#clock.monotonic();
    if (stream?.receive(bytes, fin)) return;
    this.#unread -= bytes.length;
    if (!stream && bytes.length > 0 && !this.#wasOpen(streamId))
      this.#write(writeFrame.rstStream(streamId, resetCodes.INVALID_STREAM));
  }

  #wasOpen(streamId: number): boolean {
    const ours = streamId % 2 === this.#nextStream % 2;
    return ours ? streamId < this.#nextStream : streamId <= this.#lastPeerStream;
  }

  #onSynStream(id: number, flags: number, headers: StreamHeaders): void {
    // Numbers only grow (section 2.3.2 of the draft).
    if (id === 0 || id % 2 !== this.#peerParity || id <= this.#lastPeerStream)
      throw new SpdyError('PROTOCOL_ERROR', `stream ${id} cannot be opened after stream ${this.#lastPeerStream}`);
    this.#lastPeerStream = id;
    if (!this.#options.onStream || this.#streams.size >= maximumStreams) {
      this.#write(writeFrame.rstStream(id, resetCodes.REFUSED_STREAM));
      return;
    }
    const stream = new SpdyStream(this, id, headers, {
      accepted: true,
      peerFinished: (flags & flagFin) !== 0,
      finished: (flags & flagUnidirectional) !== 0,
    });
    this.#streams.set(id, stream);
    this.#windows.add(id);
    this.#write(writeFrame.synReply(id, this.#packer.pack({})));
    this.#options.onStream(stream);
  }

  #onClosed(error?: Error): void {
    if (this.#state === 'closed') return;
    const unexpected = this.#state === 'open' ? error : undefined;
    this.#state = 'closed';
    this.#stall?.cancel();
    if (this.#transport.destroyed || this.#transport.readableEnded) this.#linger?.cancel();
    this.#windows.fail(new SpdyError('SESSION_CLOSED', 'the connection was closed'));
    for (const stream of [...this.#streams.values()]) stream.receiveEnd();
    this.#transport.resume();
    if (!this.#transport.writableEnded) this.#transport.end();
    this.#options.onClose?.(unexpected);
  }
}
