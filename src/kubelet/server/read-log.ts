import { LogFollower } from './follow-log.ts';
import { type LogLine, parseLogLine } from './log-line.ts';
import type { FollowHooks, LogOptions } from './log-options.ts';

/** Reads a container's log in CRI format, with what was rotated away and is still there, and gives what kubectl prints. */
export async function* readLog(
  path: string,
  options: LogOptions,
  hooks: FollowHooks,
  signal: AbortSignal,
): AsyncIterable<Buffer> {
  const progress = { lastTime: '' };
  const follower = new LogFollower(path, options, hooks, progress, signal);
  let left = options.limitBytes ?? Number.POSITIVE_INFINITY;
  let continued = false;
  for await (const lines of follower.lines()) {
    const texts: Buffer[] = [];
    for (const line of lines) {
      const parsed = parseLogLine(line);
      if (!parsed) continue;
      progress.lastTime = parsed.time;
      if (!isWanted(parsed, options)) continue;
      if (options.timestamps && !continued) texts.push(Buffer.from(`${parsed.time} `));
      texts.push(parsed.text);
      if (!parsed.partial) texts.push(newline);
      continued = parsed.partial;
    }
    const text = Buffer.concat(texts);
    if (text.length >= left) {
      yield text.subarray(0, left);
      return;
    }
    left -= text.length;
    if (text.length > 0) yield text;
  }
}

const newline = Buffer.from('\n');

function isWanted(line: LogLine, options: LogOptions): boolean {
  if (options.stream && line.stream !== options.stream) return false;
  return options.sinceMs === undefined || Date.parse(line.time.replace(/(\.\d{3})\d*/, '$1')) >= options.sinceMs;
}
