import { Duplex } from 'node:stream';
import { SpdyError } from './errors.ts';
import type { StreamHeaders } from './header-block.ts';

/** What a stream asks of its session. */
export interface StreamOwner {
  /** Sends bytes; calls back when the connection has taken them. */
  sendData(stream: SpdyStream, bytes: Buffer, callback: (error?: Error | null) => void): void;
  sendFin(stream: SpdyStream, callback: (error?: Error | null) => void): void;
  /** The stream's reader has taken bytes. */
  taken(stream: SpdyStream, bytes: number): void;
  /** The stream is over; `reset` when the peer does not know that yet. */
  ended(stream: SpdyStream, reset: boolean): void;
}

/** One stream of a SPDY session: both directions, each of which ends by itself. Its errors never go unheard. */
export class SpdyStream extends Duplex {
  readonly id: number;
  readonly headers: StreamHeaders;
  /** Resolves when the peer has accepted the stream; rejects when it is refused. At once for the peer's own streams. */
  readonly accepted: Promise<void>;
  readonly #owner: StreamOwner;
  readonly #queue: Buffer[] = [];
  #wanted = false;
  #peerFinished: boolean;
  #finished: boolean;
  #reset: SpdyError | undefined;
  #accept: () => void = () => {};
  #refuse: (error: Error) => void = () => {};
  /** Bytes that have come and that nobody has read yet. */
  queuedBytes = 0;
  /** When the reader last took some: monotonic milliseconds, kept by the session. */
  takenAt = 0;

  constructor(
    owner: StreamOwner,
    id: number,
    headers: StreamHeaders,
    state: { accepted: boolean; peerFinished: boolean; finished: boolean },
  ) {
    super({ allowHalfOpen: true, writableHighWaterMark: 64 * 1024 });
    this.#owner = owner;
    this.id = id;
    this.headers = headers;
    this.#peerFinished = state.peerFinished;
    this.#finished = state.finished;
    this.accepted = state.accepted
      ? Promise.resolve()
      : new Promise((resolve, reject) => {
          this.#accept = resolve;
          this.#refuse = reject;
        });
    this.accepted.catch(() => {});
    this.on('error', () => {});
    if (state.peerFinished) this.push(null);
    if (state.finished) this.end();
  }

  /** The peer has accepted the stream. */
  receiveReply(): void {
    this.#accept();
  }

  /** Bytes of the peer; false: not wanted any more, dropped. */
  receive(bytes: Buffer, fin: boolean): boolean {
    if (this.#peerFinished || this.destroyed) return false;
    if (bytes.length > 0) {
      this.#queue.push(bytes);
      this.queuedBytes += bytes.length;
    }
    if (fin) this.#peerFinished = true;
    this.#pass();
    return true;
  }

  /** The connection has ended: what has come can still be read, then it is over. */
  receiveEnd(): void {
    this.#finished = true;
    this.#refuse(new SpdyError('SESSION_CLOSED', 'the connection was closed'));
    if (!this.writableFinished && !this.writableEnded) this.once('end', () => this.destroy());
    this.receive(Buffer.alloc(0), true);
  }

  /**
   * The peer has reset the stream. Servers do so right after their last words, instead of ending a stream: what has come
   * can still be read, then it is over; writing fails from now on.
   */
  receiveReset(error: SpdyError): void {
    this.#finished = true;
    this.#reset = error;
    this.#refuse(error);
    this.#owner.ended(this, false);
    if (this.readableEnded) this.destroy(this.writableFinished ? undefined : error);
    else {
      this.once('end', () => this.destroy());
      this.receive(Buffer.alloc(0), true);
    }
  }

  override _read(): void {
    this.#wanted = true;
    this.#pass();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    if (this.#reset) return callback(this.#reset);
    this.accepted.then(() => this.#owner.sendData(this, chunk, callback), callback);
  }

  override _final(callback: (error?: Error | null) => void): void {
    if (this.#finished) return callback();
    this.accepted.then(() => {
      this.#finished = true;
      this.#owner.sendFin(this, callback);
    }, callback);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const reset = !(this.#peerFinished && this.#finished);
    this.#queue.length = 0;
    if (this.queuedBytes > 0) this.#owner.taken(this, this.queuedBytes);
    this.queuedBytes = 0;
    this.#finished = true;
    this.#refuse(error ?? new SpdyError('CANCEL', 'the stream was closed'));
    this.#owner.ended(this, reset);
    callback(error);
  }

  #pass(): void {
    while (this.#wanted && this.#queue.length > 0) {
      const bytes = this.#queue.shift()!;
      this.queuedBytes -= bytes.length;
      this.#wanted = this.push(bytes);
      this.#owner.taken(this, bytes.length);
    }
    if (this.#queue.length === 0 && this.#peerFinished && !this.readableEnded && this.#wanted) {
      this.#wanted = false;
      this.push(null);
    }
  }
}
