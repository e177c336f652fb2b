/** One line of a log in CRI format: `2026-01-02T03:04:05.000000000Z stdout F text`. */
export interface LogLine {
  /** RFC 3339 with nanoseconds, in the zone of the file. */
  time: string;
  stream: 'stdout' | 'stderr';
  /** Whether the line goes on in the next record. */
  partial: boolean;
  text: Buffer;
}

/** Takes a record apart; undefined for what is none (a torn write). */
export function parseLogLine(line: Buffer): LogLine | undefined {
  const first = line.indexOf(0x20);
  const second = line.indexOf(0x20, first + 1);
  const third = line.indexOf(0x20, second + 1);
  if (first < 0 || second < 0) return undefined;
  const end = third < 0 ? line.length : third;
  const stream = line.toString('latin1', first + 1, second);
  if (stream !== 'stdout' && stream !== 'stderr') return undefined;
  const tags = line.toString('latin1', second + 1, end).split(':');
  return {
    // Monitors write the zone as numbers; clients know UTC as Z.
    time: line.toString('latin1', 0, first).replace(/[+-]00:00$/, 'Z'),
    stream,
    partial: tags[0] === 'P',
    text: line.subarray(Math.min(line.length, end + 1)),
  };
}
