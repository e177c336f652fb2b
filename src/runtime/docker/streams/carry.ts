import { type Duplex, Transform, type TransformCallback } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { RemoteCommand } from '../../../wire/streams/index.ts';
import { FrameReader } from '../engine/index.ts';

/** A connection that the engine has given over. */
export interface Hijacked {
  socket: Duplex;
  head: Buffer;
}

/**
 * Copies between a client and the engine until the engine's side has ended, as fast as each takes it. Without a terminal
 * the engine sends both outputs in frames.
 */
export async function carry({ socket, head }: Hijacked, remote: RemoteCommand, terminal: boolean): Promise<void> {
  socket.on('error', () => {});
  if (head.length > 0) socket.unshift(head);
  if (remote.stdin) {
    remote.stdin.pipe(socket);
    // When the command has closed its input, the client's goes on being read.
    socket.once('close', () => {
      remote.stdin?.unpipe(socket);
      remote.stdin?.resume();
    });
  }
  const output = terminal ? toOne(remote) : new Splitter(remote);
  socket.pipe(output);
  const drop = (): void => void output.destroy();
  remote.signal.addEventListener('abort', drop, { once: true });
  await finished(output, { readable: false }).catch(() => {});
  remote.signal.removeEventListener('abort', drop);
}

function toOne({ stdout }: RemoteCommand): Transform {
  return new Transform({
    transform: (chunk: Buffer, _, done) => writeTo(stdout, chunk, done),
  });
}

/** Hands frames to the stream that they are of; waits for it when it is slow. */
class Splitter extends Transform {
  readonly #remote: RemoteCommand;
  readonly #frames = new FrameReader();

  constructor(remote: RemoteCommand) {
    super();
    this.#remote = remote;
  }

  override _transform(chunk: Buffer, _: BufferEncoding, done: TransformCallback): void {
    try {
      const frames = this.#frames.push(chunk);
      const next = (at: number): void => {
        const frame = frames[at];
        if (!frame) return done();
        writeTo(
          frame.stream === 'stderr' ? this.#remote.stderr : this.#remote.stdout,
          Buffer.from(frame.data),
          (error) => (error ? done(error) : next(at + 1)),
        );
      };
      next(0);
    } catch (error) {
      done(error as Error);
    }
  }
}

function writeTo(stream: NodeJS.WritableStream | undefined, chunk: Buffer, done: (error?: Error | null) => void): void {
  if (!stream?.writable) return done();
  if (stream.write(chunk)) return done();
  const go = (): void => {
    stream.off('drain', go);
    stream.off('close', go);
    done();
  };
  stream.on('drain', go);
  stream.on('close', go);
}
