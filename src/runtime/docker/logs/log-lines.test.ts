import assert from 'node:assert/strict';
import { test } from 'node:test';
import { logEnd, sinceParameter, splitTerminalOutput, toLogLine } from './log-lines.ts';

const time = '2026-11-24T10:00:00.000000001Z';

test('a message becomes a line, and a part of one becomes a partial line', () => {
  const line = (text: string) => toLogLine('stdout', Buffer.from(text))?.toString();
  assert.equal(line(`${time} hello world\n`), `${time} stdout F hello world\n`);
  assert.equal(line(`${time} part`), `${time} stdout P part\n`);
  assert.equal(line(`${time} \n`), `${time} stdout F \n`);
  assert.equal(line('nonsense'), undefined);
});

test('the output of a terminal is cut at its ends of lines', () => {
  const { lines, rest } = splitTerminalOutput(Buffer.from('a\r\nb\r\nc'));
  assert.deepEqual([lines.map(String), String(rest)], [['a\r\n', 'b\r\n'], 'c']);
});

test('a log goes on after the last line that is whole', () => {
  const later = '2026-11-24T10:00:01Z';
  const log = `${time} stdout F one\n${later} stdout P tw\n${later} stdout F o\n2026-11-24T10:00:02Z std`;
  assert.deepEqual(logEnd(log), { time: later, lines: 2 });
  assert.equal(logEnd(''), undefined);
  assert.equal(sinceParameter('1970-01-01T00:01:00.5Z'), '60.500000000');
  assert.equal(sinceParameter('1970-01-01T00:01:00Z'), '60.000000000');
});
