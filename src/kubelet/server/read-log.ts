import { watch } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type LogLine, parseLogLine } from './log-line.ts';

/** Which lines of a container's log are wanted. */
export interface LogOptions {
  /** Go on until the container ends. */
  follow: boolean;
  /** Only the last lines; undefined: all. */
  tailLines?: number;
  /** Only lines written at or after this time, milliseconds since 1970. */
  sinceMs?: number;
  /** Stop after this many bytes. */
  limitBytes?: number;
  /** Put the time before each line. */
  timestamps: boolean;
  /** Only one of the streams. */
  stream?: 'stdout' | 'stderr';
}

/** How following learns that something has happened. */
export interface FollowHooks {
  /** Whether the container still runs. */
  isRunning: () => boolean;
  /** Calls back when the container changes state, until the signal aborts. */
  onChange: (callback: () => void, signal: AbortSignal) => void;
}

const chunkBytes = 64 * 1024;

/** Reads a container's log in CRI format and gives what kubectl prints. Goes over to a new file when the log is rotated. */
export async function* readLog(
  path: string,
  options: LogOptions,
  hooks: FollowHooks,
  signal: AbortSignal,
): AsyncIterable<Buffer> {
  let left = options.limitBytes ?? Number.POSITIVE_INFINITY;
  let continued = false;
  for await (const line of followLines(path, options, hooks, signal)) {
    const parsed = parseLogLine(line);
    if (!parsed || !isWanted(parsed, options)) continue;
    const text = Buffer.concat([
      options.timestamps && !continued ? Buffer.from(`${parsed.time} `) : Buffer.alloc(0),
      parsed.text,
      parsed.partial ? Buffer.alloc(0) : newline,
    ]);
    continued = parsed.partial;
    if (text.length >= left) {
      yield text.subarray(0, left);
      return;
    }
    left -= text.length;
    yield text;
  }
}

const newline = Buffer.from('\n');

function isWanted(line: LogLine, options: LogOptions): boolean {
  if (options.stream && line.stream !== options.stream) return false;
  return options.sinceMs === undefined || Date.parse(line.time.replace(/(\.\d{3})\d*/, '$1')) >= options.sinceMs;
}

async function* followLines(
  path: string,
  options: LogOptions,
  hooks: FollowHooks,
  signal: AbortSignal,
): AsyncIterable<Buffer> {
  let file = await openLog(path);
  if (!file && !options.follow) return;
  const changes = new ChangeSignal(path, hooks, signal);
  let rest: Buffer = Buffer.alloc(0);
  try {
    let position = file && options.tailLines !== undefined ? await findTail(file, options.tailLines) : 0;
    while (!signal.aborted) {
      // Asked before reading: what is written until the end is still read.
      const running = hooks.isRunning();
      const { bytes, lines, remainder } = file
        ? await readNew(file, position, rest)
        : { bytes: 0, lines: [], remainder: rest };
      position += bytes;
      rest = remainder;
      yield* lines;
      if (bytes > 0) continue;
      const next = await openIfRotated(path, file);
      if (next) {
        await file?.close();
        file = next;
        position = 0;
        rest = Buffer.alloc(0);
        continue;
      }
      if (!options.follow || !running) return;
      await changes.next();
    }
  } finally {
    changes.close();
    await file?.close();
  }
}

async function openLog(path: string): Promise<FileHandle | undefined> {
  return open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
}

async function readNew(
  file: FileHandle,
  position: number,
  rest: Buffer,
): Promise<{ bytes: number; lines: Buffer[]; remainder: Buffer }> {
  const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(chunkBytes), 0, chunkBytes, position);
  let data = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
  const lines: Buffer[] = [];
  for (let end = data.indexOf(10); end >= 0; end = data.indexOf(10)) {
    lines.push(data.subarray(0, end));
    data = data.subarray(end + 1);
  }
  return { bytes: bytesRead, lines, remainder: data };
}

/** The file that stands at the path now, if it is another one than before. */
async function openIfRotated(path: string, file: FileHandle | undefined): Promise<FileHandle | undefined> {
  const there = await stat(path).catch(() => undefined);
  if (!there) return undefined;
  if (file && (await file.stat()).ino === there.ino) return undefined;
  return openLog(path);
}

/** Where the last lines begin. A line that is split into records counts once. */
async function findTail(file: FileHandle, count: number): Promise<number> {
  const { size } = await file.stat();
  if (count === 0) return size;
  let found = 0;
  let data = Buffer.alloc(0);
  for (let from = size; from > 0; ) {
    const length = Math.min(chunkBytes, from);
    from -= length;
    const { buffer } = await file.read(Buffer.allocUnsafe(length), 0, length, from);
    data = Buffer.concat([buffer, data]);
    found = 0;
    // The last line ends the file: begin before its end.
    for (let at = data.length - 1; at > 0; ) {
      const before = data.lastIndexOf(10, at - 1);
      if (before < 0) break;
      const previous = data.lastIndexOf(10, before - 1);
      const record = previous < 0 && from > 0 ? undefined : parseLogLine(data.subarray(previous + 1, before));
      if (!record?.partial && ++found === count) return from + before + 1;
      at = before;
    }
  }
  return 0;
}

/** Resolves when the log's directory or the container has changed since the last time. */
class ChangeSignal {
  readonly #stop = new AbortController();
  #changed = false;
  #wake: (() => void) | undefined;

  constructor(path: string, hooks: FollowHooks, signal: AbortSignal) {
    const notify = (): void => {
      this.#changed = true;
      this.#wake?.();
    };
    signal.addEventListener('abort', notify, { once: true, signal: this.#stop.signal });
    hooks.onChange(notify, this.#stop.signal);
    try {
      watch(dirname(path), { signal: this.#stop.signal, persistent: false }, notify).on('error', () => {});
    } catch {
      // The directory is not there yet: the container's start tells.
    }
  }
  async next(): Promise<void> {
    if (!this.#changed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#changed = false;
    this.#wake = undefined;
  }
  close(): void {
    this.#stop.abort();
  }
}
