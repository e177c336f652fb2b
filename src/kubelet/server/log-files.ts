import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { createGunzip } from 'node:zlib';
import { parseLogLine } from './log-line.ts';

/** A log that was moved aside: `0.log.20260102-030405`, or the same compressed. */
export interface RotatedLog {
  path: string;
  /** What comes later sorts later; the same before and after compression. */
  name: string;
  ino: number;
  modifiedMs: number;
}

const chunkBytes = 64 * 1024;

/** The rotated files of a log, oldest first. */
export async function rotatedLogs(path: string): Promise<RotatedLog[]> {
  const [directory, prefix] = [dirname(path), `${basename(path)}.`];
  const found = new Map<string, RotatedLog>();
  const names = (await readdir(directory).catch(() => [])).filter((file) => file.startsWith(prefix)).sort();
  for (const file of names) {
    if (file.endsWith('.tmp')) continue;
    const name = file.slice(prefix.length).replace(/\.gz$/, '');
    // While one is compressed there are both: the first of them, not compressed, is whole.
    if (found.has(name)) continue;
    const info = await stat(join(directory, file)).catch(() => undefined);
    if (info) found.set(name, { path: join(directory, file), name, ino: info.ino, modifiedMs: info.mtimeMs });
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The lines of a rotated log, many at a time. One that is compressed or removed meanwhile is read to its end. */
export async function* rotatedLines({ path }: RotatedLog): AsyncIterable<Buffer[]> {
  const file = await open(path, 'r').catch(() => undefined);
  if (!file) return;
  const raw = file.createReadStream({ highWaterMark: chunkBytes });
  const splitter = new LineSplitter();
  try {
    const chunks = path.endsWith('.gz') ? raw.pipe(createGunzip()) : raw;
    raw.on('error', (error) => chunks.destroy(error));
    for await (const chunk of chunks) {
      const lines = splitter.take(chunk as Buffer);
      if (lines.length > 0) yield lines;
    }
    const last = splitter.end();
    if (last) yield [last];
  } finally {
    raw.destroy();
  }
}

/** Cuts bytes into lines, without their line feeds. */
export class LineSplitter {
  #rest: Buffer = Buffer.alloc(0);

  take(chunk: Buffer): Buffer[] {
    const data = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    const lines: Buffer[] = [];
    let from = 0;
    for (let end = data.indexOf(10); end >= 0; end = data.indexOf(10, from)) {
      lines.push(data.subarray(from, end));
      from = end + 1;
    }
    this.#rest = data.subarray(from);
    return lines;
  }

  /** What came without a line feed at its end, once nothing more will come. */
  end(): Buffer | undefined {
    const rest = this.#rest;
    this.#rest = Buffer.alloc(0);
    return rest.length > 0 ? rest : undefined;
  }
}

/** Where the last lines of a file begin, and how many there are. A line that is split into records counts once. */
export async function findTail(file: FileHandle, count: number): Promise<{ position: number; found: number }> {
  const { size } = await file.stat();
  if (count === 0) return { position: size, found: 0 };
  let data = Buffer.alloc(0);
  let found = 0;
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
      if (!record?.partial && ++found === count) return { position: from + before + 1, found };
      at = before;
    }
  }
  // The first line has none before it.
  return { position: 0, found: size > 0 ? found + 1 : 0 };
}

/** The last lines of some; a line that is split into records counts once. */
export async function lastLines(
  all: AsyncIterable<Buffer[]>,
  count: number,
): Promise<{ lines: Buffer[]; found: number }> {
  const groups: Buffer[][] = [];
  let open: Buffer[] | undefined;
  for await (const lines of all)
    for (const line of lines) {
      if (!open) {
        open = [];
        groups.push(open);
        if (groups.length > count) groups.shift();
      }
      // A part of a chunk would keep the whole chunk in memory.
      open.push(Buffer.from(line));
      if (!parseLogLine(line)?.partial) open = undefined;
    }
  return { lines: groups.flat(), found: groups.length };
}

/** The time of the first record of a rotated log. */
export async function firstTime(log: RotatedLog): Promise<string | undefined> {
  for await (const lines of rotatedLines(log)) for (const line of lines) return parseLogLine(line)?.time;
  return undefined;
}
