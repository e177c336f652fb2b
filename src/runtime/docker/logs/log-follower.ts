import { type FileHandle, open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { type Clock, SerialRunner } from '../../../async/index.ts';
import type { Logger } from '../../../log/index.ts';
import { type Engine, FrameReader, isMissing } from '../engine/index.ts';
import { type LogEnd, logEnd, sinceParameter, splitTerminalOutput, timeOf, toLogLine } from './log-lines.ts';

/** Whose log it is. */
export interface FollowedContainer {
  id: string;
  /** Absolute path of the log. */
  path: string;
  terminal: boolean;
}

/** So much of a log is looked at for its last line, bytes. A line of the engine has at most 16 KiB. */
const tailBytes = 64 << 10;
/** When to try again after the engine or the disk refused, milliseconds. */
const againMs = 1_000;

/**
 * Copies what the engine keeps of a container's output into its CRI log.
 *
 * The engine keeps the newest output in files of its own, so nothing is lost while the adapter is away: what comes after
 * the last line that was written is fetched then. Only one writer has the file, so a rotation loses and doubles nothing.
 */
export class LogFollower {
  readonly #container: FollowedContainer;
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #end = new AbortController();
  readonly #serial = new SerialRunner();
  readonly #done = Promise.withResolvers<void>();
  #file: FileHandle | undefined;
  /** Where the file ended when the output began to be read, as far as that has not been met again. */
  #met: LogEnd | undefined;
  /** Output of a terminal whose line is not complete. */
  #rest: Buffer = Buffer.alloc(0);

  constructor(container: FollowedContainer, options: { engine: Engine; clock: Clock; log: Logger }) {
    this.#container = container;
    this.#engine = options.engine;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /** Resolves when the container has ended and all of its output is written. */
  get done(): Promise<void> {
    return this.#done.promise;
  }

  /** Works until then, or until stop(). */
  async run(): Promise<void> {
    const { signal } = this.#end;
    while (!signal.aborted) {
      try {
        await this.#copy(signal, true);
        // What is said at the very end sometimes misses the followers; it is in the engine's file all the same.
        await this.#copy(signal, false);
        break;
      } catch (error) {
        if (signal.aborted || isMissing(error)) break;
        this.#log.warn('a log cannot be written, trying again', { id: this.#container.id, error });
        await this.#clock.sleep(againMs, signal).catch(() => {});
      }
    }
    this.#done.resolve();
    await this.#close();
  }

  reopen(): Promise<void> {
    return this.#serial.run('file', async () => {
      await this.#close();
      // Whoever rotates logs expects the new file to be there.
      await this.#open();
      if (this.#end.signal.aborted) await this.#close();
    });
  }

  async stop(): Promise<void> {
    this.#end.abort(new Error('the log is not written any more'));
    await this.#done.promise;
  }

  /** Copies what is behind the end of the file; with `follow` until the container's end. */
  async #copy(signal: AbortSignal, follow: boolean): Promise<void> {
    const end = await this.#serial.run('file', async () => {
      const found = await readLogEnd(this.#container.path);
      // There from the start, also when nothing is said.
      this.#file ??= await this.#open();
      return found;
    });
    this.#met = end;
    this.#rest = Buffer.alloc(0);
    const query = {
      follow,
      stdout: true,
      stderr: true,
      timestamps: true,
      since: end && sinceParameter(end.time),
    };
    const message = await this.#engine.stream('GET', `/containers/${this.#container.id}/logs`, { query, signal });
    const frames = new FrameReader();
    for await (const chunk of inBatches(message)) {
      const lines = this.#container.terminal ? this.#terminalLines(chunk) : frames.push(chunk).map(toLine);
      await this.#write(lines.filter((line) => line !== undefined));
    }
    if (this.#rest.length > 0)
      await this.#write([toLogLine('stdout', this.#rest)].filter((line) => line !== undefined));
  }

  #terminalLines(chunk: Buffer): (Buffer | undefined)[] {
    const { lines, rest } = splitTerminalOutput(Buffer.concat([this.#rest, chunk]));
    this.#rest = Buffer.from(rest);
    return lines.map((line) => toLogLine('stdout', line));
  }

  /** Appends lines but those that are in the file already. */
  async #write(lines: readonly Buffer[]): Promise<void> {
    const fresh = lines.filter((line) => !this.#isMet(timeOf(line.toString('latin1', 0, 64))));
    if (fresh.length === 0) return;
    await this.#serial.run('file', async () => {
      this.#file ??= await this.#open();
      await this.#file.writeFile(Buffer.concat(fresh));
    });
  }

  #isMet(time: string): boolean {
    const met = this.#met;
    if (!met) return false;
    const order = compareTimes(time, met.time);
    if (order < 0) return true;
    if (order === 0 && met.lines > 0) {
      met.lines--;
      return true;
    }
    this.#met = undefined;
    return false;
  }

  async #open(): Promise<FileHandle> {
    this.#file = await open(this.#container.path, 'a', 0o640);
    return this.#file;
  }

  async #close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }
}

/** Output that waits to be written; more is left with the engine, bytes. */
const largestBatch = 1 << 20;

/** The engine sends every line by itself: what came while the last was written goes to the disk at once. */
async function* inBatches(stream: Readable): AsyncGenerator<Buffer> {
  let waiting: Buffer[] = [];
  let bytes = 0;
  let wake = (): void => {};
  stream.on('data', (chunk: Buffer) => {
    waiting.push(chunk);
    bytes += chunk.length;
    if (bytes > largestBatch) stream.pause();
    wake();
  });
  let over = false;
  const ended = finished(stream).finally(() => {
    over = true;
    wake();
  });
  ended.catch(() => {});
  while (waiting.length > 0 || !over) {
    if (waiting.length === 0)
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    const batch = Buffer.concat(waiting);
    [waiting, bytes] = [[], 0];
    stream.resume();
    if (batch.length > 0) yield batch;
  }
  await ended;
}

const toLine = ({ stream, data }: { stream: string; data: Buffer }): Buffer | undefined =>
  toLogLine(stream === 'stderr' ? 'stderr' : 'stdout', data);

/** Compares times with up to nine digits behind the point. */
function compareTimes(left: string, right: string): number {
  const pad = (one: string): string => {
    const [seconds = '', fraction = ''] = one.replace(/Z$/, '').split('.');
    return `${seconds}.${fraction.padEnd(9, '0')}`;
  };
  const [one, other] = [pad(left), pad(right)];
  return one < other ? -1 : one > other ? 1 : 0;
}

async function readLogEnd(path: string): Promise<LogEnd | undefined> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, 'r');
    const { size } = await file.stat();
    const length = Math.min(size, tailBytes);
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length);
    return logEnd(buffer.toString('latin1'));
  } catch (cause) {
    if ((cause as { code?: string }).code === 'ENOENT') return undefined;
    throw cause;
  } finally {
    await file?.close();
  }
}
