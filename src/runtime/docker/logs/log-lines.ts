/** Turns what the engine's log gives (with timestamps) into lines of a CRI log: time, stream, `F` or `P`, text. */

/** How long a time of the engine's log is: `2006-01-02T15:04:05.000000000Z`. */
const timeLength = 30;

/** One message of a container without a terminal; a part of a long line has no end of its own. `undefined`: no message. */
export function toLogLine(stream: 'stdout' | 'stderr', message: Buffer): Buffer | undefined {
  const space = message.indexOf(0x20);
  if (space < timeLength - 10 || space > timeLength + 10) return undefined;
  const isWhole = message.at(-1) === 0x0a;
  const text = message.subarray(space + 1, isWhole ? message.length - 1 : message.length);
  const head = Buffer.from(`${message.toString('latin1', 0, space)} ${stream} ${isWhole ? 'F' : 'P'} `);
  return Buffer.concat([head, text, Buffer.from('\n')]);
}

/** The output of a terminal comes as text; the lines that are complete, and the rest. */
export function splitTerminalOutput(text: Buffer): { lines: Buffer[]; rest: Buffer } {
  const lines: Buffer[] = [];
  let at = 0;
  for (let end = text.indexOf(0x0a, at); end >= 0; end = text.indexOf(0x0a, at)) {
    lines.push(text.subarray(at, end + 1));
    at = end + 1;
  }
  return { lines, rest: text.subarray(at) };
}

/** The time of a line of a CRI log. */
export const timeOf = (line: string): string => line.slice(0, Math.max(0, line.indexOf(' ')));

/** Where a log ends: the time of its last line, and how many lines have that time (the parts of a long one share it). */
export interface LogEnd {
  time: string;
  lines: number;
}

/** The end of a piece of a CRI log; undefined when it has none. Incomplete lines do not count. */
export function logEnd(tail: string): LogEnd | undefined {
  const times = tail.split('\n').slice(0, -1).map(timeOf);
  const time = times.findLast((one) => /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(one));
  return time === undefined ? undefined : { time, lines: times.filter((one) => one === time).length };
}

/** `2006-01-02T15:04:05.999999999Z` as the engine takes it: seconds since 1970, with nine digits behind the point. */
export function sinceParameter(time: string): string {
  const [, seconds = '', fraction = ''] = /^([^.Z]+)(?:\.(\d{1,9}))?Z$/.exec(time) ?? [];
  return `${Math.floor(Date.parse(`${seconds}Z`) / 1000)}.${fraction.padEnd(9, '0')}`;
}
