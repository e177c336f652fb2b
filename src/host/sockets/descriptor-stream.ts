import { Socket } from 'node:net';
import { Duplex } from 'node:stream';

/** Longest piece that is read at once: no packet of a monitor and no terminal buffer is longer. */
const readBytes = 64 * 1024;

interface PipeHandle {
  open(fd: number): number;
}

/** How a descriptor is read and written. */
export interface DescriptorStreamOptions {
  /** Every read is an item of its own (a packet), also when it has to wait for its reader. Default false. */
  packets?: boolean;
}

/**
 * A descriptor that can be polled and for which Node has no stream: sockets of type SOCK_SEQPACKET, the outer side of a
 * pseudo-terminal (Node's own terminal streams block the whole process while such a one is full). A pipe handle, given the
 * descriptor, reads and writes it as it should.
 *
 * What can be read is never lost, whatever happens to the other direction: errors of reading are the end, and what cannot
 * be written is dropped. Writes are made one by one, each with one system call where it fits. Owns the descriptor.
 */
export class DescriptorStream extends Duplex {
  readonly #socket: Socket;

  constructor(fd: number, options: DescriptorStreamOptions = {}) {
    super({
      allowHalfOpen: true,
      readableObjectMode: options.packets ?? false,
      ...(options.packets ? { readableHighWaterMark: 16 } : {}),
      decodeStrings: true,
    });
    this.#socket = openSocket(fd, (bytes) => this.push(bytes));
    this.#socket.on('error', () => {});
    this.#socket.on('end', () => this.push(null));
    this.#socket.on('close', () => this.push(null));
    this.on('error', () => {});
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    if (this.#socket.destroyed) callback();
    else this.#socket.write(chunk, () => callback());
  }

  override _final(callback: (error?: Error | null) => void): void {
    if (this.#socket.destroyed) callback();
    else this.#socket.end(() => callback());
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (this.#socket.closed) return callback(error);
    this.#socket.once('close', () => callback(error));
    this.#socket.destroy();
  }
}

/** A socket that keeps nothing back: bytes go straight to the callback, which says whether it takes more. */
function openSocket(fd: number, onBytes: (bytes: Buffer) => boolean): Socket {
  const binding = (process as unknown as { binding(name: string): { Pipe: new (type: number) => PipeHandle } }).binding;
  const { Pipe } = binding('pipe_wrap');
  const handle = new Pipe(0);
  handle.open(fd);
  const buffer = Buffer.allocUnsafeSlow(readBytes);
  const onread = { buffer, callback: (length: number) => onBytes(Buffer.from(buffer.subarray(0, length))) };
  return new Socket({ handle, allowHalfOpen: true, onread } as object);
}
