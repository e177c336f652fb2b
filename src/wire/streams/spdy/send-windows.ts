interface Waiting {
  bytes: Buffer;
  callback: (error?: Error | null) => void;
}

/** What a stream may start to send before the peer says more (SPDY draft 3.1, section 2.6.8). */
const initialWindow = 64 * 1024;
const largestWindow = 0x7fffffff;

/**
 * How much may be sent on each stream and on the session. Most peers of container streams never grant anything: the
 * windows bind only from the first time on that the peer grants some.
 */
export class SendWindows {
  readonly #send: (streamId: number, bytes: Buffer, callback?: (error?: Error | null) => void) => void;
  readonly #windows = new Map<number, number>();
  readonly #waiting = new Map<number, Waiting>();
  #initial = initialWindow;
  #session = initialWindow;
  #binds = false;
  #sessionBinds = false;

  constructor(send: (streamId: number, bytes: Buffer, callback?: (error?: Error | null) => void) => void) {
    this.#send = send;
  }

  add(streamId: number): void {
    this.#windows.set(streamId, this.#initial);
  }

  remove(streamId: number): void {
    this.#windows.delete(streamId);
    const waiting = this.#waiting.get(streamId);
    this.#waiting.delete(streamId);
    waiting?.callback(new Error('the stream was closed'));
  }

  /** Sends at once what the windows allow, and the rest when they do. One call at a time for each stream. */
  send(streamId: number, bytes: Buffer, callback: (error?: Error | null) => void): void {
    this.#waiting.set(streamId, { bytes, callback });
    this.#advance(streamId);
  }

  /** The peer grants more. Gives false for more than a window can be; then nothing has changed. */
  update(streamId: number, delta: number): boolean {
    if (streamId === 0) {
      if (this.#session + delta > largestWindow) return false;
      this.#sessionBinds = true;
      this.#session += delta;
      for (const id of [...this.#waiting.keys()]) this.#advance(id);
      return true;
    }
    const window = this.#windows.get(streamId);
    if (window !== undefined && window + delta > largestWindow) return false;
    this.#binds = true;
    if (window === undefined) return true;
    this.#windows.set(streamId, window + delta);
    this.#advance(streamId);
    return true;
  }

  /** The peer's SETTINGS_INITIAL_WINDOW_SIZE: changes what every stream has. */
  setInitial(bytes: number): void {
    this.#binds = true;
    const delta = Math.min(bytes, largestWindow) - this.#initial;
    this.#initial += delta;
    for (const [id, window] of this.#windows) this.#windows.set(id, window + delta);
    for (const id of [...this.#waiting.keys()]) this.#advance(id);
  }

  /** Nothing can be sent any more. */
  fail(error: Error): void {
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { callback } of all) callback(error);
  }

  #advance(streamId: number): void {
    const waiting = this.#waiting.get(streamId);
    if (!waiting) return;
    const { bytes, callback } = waiting;
    const window = this.#windows.get(streamId) ?? 0;
    const room = Math.min(
      bytes.length,
      this.#binds ? window : Number.POSITIVE_INFINITY,
      this.#sessionBinds ? this.#session : Number.POSITIVE_INFINITY,
    );
    if (room <= 0 && bytes.length > 0) return;
    this.#windows.set(streamId, window - room);
    this.#session -= room;
    if (room === bytes.length) {
      this.#waiting.delete(streamId);
      this.#send(streamId, bytes, callback);
    } else {
      waiting.bytes = bytes.subarray(room);
      this.#send(streamId, bytes.subarray(0, room));
    }
  }
}
