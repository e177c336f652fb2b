import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lastDue, nextDue, parseSchedule } from './schedule.ts';

const at = (text: string) => Date.parse(text);
const next = (schedule: string, after: string, zone?: string) => {
  const due = nextDue(parseSchedule(schedule), at(after), zone);
  return due === undefined ? undefined : new Date(due).toISOString();
};

test('fields, steps, ranges, lists, names and shorthands', () => {
  assert.equal(next('*/15 * * * *', '2026-01-01T00:01:00Z'), '2026-01-01T00:15:00.000Z');
  assert.equal(next('5 4 * * MON-FRI', '2026-01-02T05:00:00Z'), '2026-01-05T04:05:00.000Z');
  assert.equal(next('@monthly', '2026-01-15T00:00:00Z'), '2026-02-01T00:00:00.000Z');
  assert.equal(next('0 0 29 2 *', '2026-01-01T00:00:00Z'), '2028-02-29T00:00:00.000Z');
  assert.equal(next('0 0 30 2 *', '2026-01-01T00:00:00Z'), undefined);
  assert.equal(next('0 12 13 * 5', '2026-01-01T00:00:00Z'), '2026-01-02T12:00:00.000Z', 'day of month or day of week');
});

test('a time zone with summer time', () => {
  assert.equal(next('30 9 * * *', '2026-03-28T10:00:00Z', 'Europe/Berlin'), '2026-03-29T07:30:00.000Z');
  assert.equal(next('30 9 * * *', '2026-01-01T10:00:00Z', 'Europe/Berlin'), '2026-01-02T08:30:00.000Z');
});

test('what was missed: the last one counts', () => {
  const schedule = parseSchedule('0 * * * *');
  const missed = lastDue(schedule, at('2026-01-01T00:30:00Z'), at('2026-01-01T05:10:00Z'));
  assert.deepEqual(missed, { at: at('2026-01-01T05:00:00Z'), tooMany: false });
  assert.equal(lastDue(schedule, at('2026-01-01T00:30:00Z'), at('2026-03-01T00:10:00Z')).tooMany, true);
  assert.equal(lastDue(schedule, at('2026-01-01T00:30:00Z'), at('2026-01-01T00:40:00Z')).at, undefined);
});

test('bad schedules are refused', () => {
  for (const bad of ['* * * *', '60 * * * *', '*/0 * * * *', '5-1 * * * *', 'x * * * *'])
    assert.throws(() => parseSchedule(bad), RangeError, bad);
});
