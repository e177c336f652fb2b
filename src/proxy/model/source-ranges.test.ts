import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSourceRanges } from './source-ranges.ts';

const read = (ranges: string[], family: 4 | 6 = 4) => readSourceRanges(ranges, family, () => {});

test('ranges that lie inside another, or are said twice, are left out', () => {
  assert.deepEqual(read(['192.168.50.0/24', '192.168.0.0/16', '10.0.0.0/8', '10.0.0.0/8', '10.1.2.3']), [
    '10.0.0.0/8',
    '192.168.0.0/16',
  ]);
  assert.deepEqual(read(['2001:db8:50::/64', '2001:db8::/32'], 6), ['2001:db8::/32']);
});
test('bits behind the prefix do not matter', () => {
  assert.deepEqual(read(['192.168.50.7/20', '192.168.48.1/20']), ['192.168.48.0/20']);
});
test('a range over everything is no restriction; ranges of the other family let nobody in', () => {
  assert.deepEqual(read(['10.0.0.0/8', '0.0.0.0/0']), []);
  assert.deepEqual(read(['10.0.0.0/8'], 6), ['ff00::/128']);
});
test('what is no prefix is told and left out', () => {
  const bad: string[] = [];
  assert.deepEqual(
    readSourceRanges(['10.0.0.0/33', 'x', ' 10.0.0.0/8 '], 4, (range) => bad.push(range)),
    ['10.0.0.0/8'],
  );
  assert.deepEqual(bad, ['10.0.0.0/33', 'x']);
});
