import { watch } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import {
  findTail,
  firstTime,
  LineSplitter,
  lastLines,
  type RotatedLog,
  rotatedLines,
  rotatedLogs,
} from './log-files.ts';
import type { FollowHooks, LogOptions } from './log-options.ts';

const chunkBytes = 64 * 1024;

/** What the reader has told so far: what comes next must not be older. */
export interface Progress {
  /** Time of the last record, as it stands in the log. */
  lastTime: string;
}

/**
 * The records of a container's log from the oldest rotated file on, and then what is written, as it is written.
 *
 * No record is left out or given twice when the log is rotated meanwhile, however far behind the reader is: a file stays
 * open until it is read to its end, and the next one is found by what stands in the directory.
 */
export class LogFollower {
  readonly #path: string;
  readonly #options: LogOptions;
  readonly #hooks: FollowHooks;
  readonly #signal: AbortSignal;
  readonly #progress: Progress;
  readonly #splitter = new LineSplitter();
  #file: FileHandle | undefined;
  #position = 0;
  /** The rotated file that was read last, when it was not read as the current one. */
  #name: string | undefined;

  constructor(path: string, options: LogOptions, hooks: FollowHooks, progress: Progress, signal: AbortSignal) {
    this.#path = path;
    this.#options = options;
    this.#hooks = hooks;
    this.#progress = progress;
    this.#signal = signal;
  }

  /** Records, many at a time. */
  async *lines(): AsyncIterable<Buffer[]> {
    // Opened first: what is moved aside from now on is still found.
    this.#file = await openLog(this.#path);
    const changes = new ChangeSignal(this.#path, this.#hooks, this.#signal);
    try {
      yield* this.#older();
      while (!this.#signal.aborted) {
        // Asked before reading: what is written until the end is still read.
        const running = this.#hooks.isRunning();
        const lines = await this.#readNew();
        if (lines) {
          if (lines.length > 0) yield lines;
          continue;
        }
        const next = await this.#successor(running);
        if (next === 'wait') await changes.next();
        else if (next) yield* this.#goOver(next);
        else if (!this.#options.follow || !running) break;
        else await changes.next();
      }
      const last = this.#splitter.end();
      if (last) yield [last];
    } finally {
      changes.close();
      await this.#file?.close();
    }
  }

  /** What stands in rotated files, as far as it is wanted; sets where the current file is read from. */
  async *#older(): AsyncIterable<Buffer[]> {
    const { tailLines, sinceMs } = this.#options;
    const ino = (await this.#file?.stat())?.ino;
    let older = (await rotatedLogs(this.#path)).filter((one) => one.ino !== ino);
    this.#name = older.at(-1)?.name;
    if (sinceMs !== undefined) older = older.filter(({ modifiedMs }) => modifiedMs >= sinceMs);
    if (tailLines === undefined) {
      for (const one of older) yield* rotatedLines(one);
      return;
    }
    const tail = this.#file ? await findTail(this.#file, tailLines) : { position: 0, found: 0 };
    this.#position = tail.position;
    let missing = tailLines - tail.found;
    const before: Buffer[][] = [];
    for (const one of older.reverse()) {
      if (missing <= 0) break;
      const { lines, found } = await lastLines(rotatedLines(one), missing);
      before.unshift(lines);
      missing -= found;
    }
    for (const lines of before) if (lines.length > 0) yield lines;
  }

  /** The next lines of the current file; undefined at its end. */
  async #readNew(): Promise<Buffer[] | undefined> {
    if (!this.#file) return undefined;
    const { bytesRead, buffer } = await this.#file.read(Buffer.allocUnsafe(chunkBytes), 0, chunkBytes, this.#position);
    if (bytesRead === 0) {
      // Somebody has emptied the file: it begins anew.
      if (this.#position > 0 && (await this.#file.stat()).size < this.#position) {
        this.#position = 0;
        return [];
      }
      return undefined;
    }
    this.#position += bytesRead;
    return this.#splitter.take(buffer.subarray(0, bytesRead));
  }

  /** The file after the one that was read to its end; `wait` when the writer may not have gone over to it yet. */
  async #successor(running: boolean): Promise<RotatedLog | FileHandle | 'wait' | undefined> {
    const there = await stat(this.#path).catch(() => undefined);
    const own = await this.#file?.stat();
    if (!there || there.ino === own?.ino) return undefined;
    const rotated = await this.#rotatedAfter(own?.ino);
    if (rotated) return rotated;
    // A runtime may still write a last line to the old file while the new one is empty.
    if (this.#file && running && this.#options.follow && there.size === 0) return 'wait';
    return openLog(this.#path);
  }

  async #rotatedAfter(ino: number | undefined): Promise<RotatedLog | undefined> {
    const rotated = await rotatedLogs(this.#path);
    const at = rotated.findIndex((one) => one.ino === ino);
    if (at >= 0) return rotated[at + 1];
    const name = this.#name;
    if (!this.#file) return rotated.find((one) => name === undefined || one.name > name);
    // It was compressed meanwhile, or removed: the next one begins after what was told last.
    for (const one of rotated) {
      if (name !== undefined && one.name <= name) continue;
      const time = await firstTime(one);
      if (time !== undefined && time > this.#progress.lastTime) return one;
    }
    return undefined;
  }

  async *#goOver(next: RotatedLog | FileHandle): AsyncIterable<Buffer[]> {
    // What came between its end and the look at the directory.
    for (let lines = await this.#readNew(); lines; lines = await this.#readNew()) yield lines;
    const last = this.#splitter.end();
    if (last) yield [last];
    await this.#file?.close();
    this.#position = 0;
    if ('fd' in next) {
      this.#file = next;
      return;
    }
    this.#file = undefined;
    this.#name = next.name;
    yield* rotatedLines(next);
  }
}

async function openLog(path: string): Promise<FileHandle | undefined> {
  return open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
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
