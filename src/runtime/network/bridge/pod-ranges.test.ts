import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PodRanges } from './pod-ranges.ts';

const cidrs = (ranges: PodRanges) => ranges.all.map(({ cidr }) => cidr);

test('a pod gets an address of each family, in the order of the ranges', () => {
  const ranges = new PodRanges();
  assert.equal(ranges.known, false);
  assert.equal(ranges.set(['fd00::/64', '10.0.0.0/24']), true);
  assert.deepEqual(ranges.take(), ['fd00::2', '10.0.0.2']);
  assert.equal(ranges.gatewayOf('fd00::2'), 'fd00::1');
  assert.throws(() => ranges.set(['10.0.0.0/24', '10.1.0.0/24']), /at most one of each family/);
});

test('a range that is replaced stays until its last pod is gone', () => {
  const ranges = new PodRanges();
  ranges.set(['10.0.0.0/24']);
  const [old] = ranges.take() as [string];
  assert.equal(ranges.set(['10.0.0.0/24']), false);
  assert.equal(ranges.set(['10.0.1.0/24']), true);
  assert.deepEqual(ranges.take(), ['10.0.1.2']);
  assert.deepEqual(cidrs(ranges), ['10.0.1.0/24', '10.0.0.0/24']);
  assert.equal(ranges.gatewayOf(old), '10.0.0.1');
  ranges.release([old]);
  assert.deepEqual(cidrs(ranges), ['10.0.1.0/24']);
});

test('a range that grows does not give the addresses of pods again', () => {
  const ranges = new PodRanges();
  ranges.set(['10.0.0.0/29']);
  const old = [...ranges.take(), ...ranges.take()];
  ranges.set(['10.0.0.0/24']);
  assert.deepEqual([...ranges.take(), ...ranges.take()], ['10.0.0.4', '10.0.0.5']);
  ranges.release(old);
  assert.deepEqual(cidrs(ranges), ['10.0.0.0/24']);
});

test('after a restart old pods bring their range back, and what one family lacks is not taken of the other', () => {
  const ranges = new PodRanges();
  ranges.set(['10.0.1.0/24', 'fd00::/126']);
  ranges.adopt(['10.0.0.7', 'fd00::2'], ['10.0.0.1/24', 'x']);
  assert.deepEqual(cidrs(ranges), ['10.0.1.0/24', 'fd00::/126', '10.0.0.0/24']);
  assert.throws(() => ranges.take(), /fd00::\/126/);
  ranges.release(['fd00::2']);
  ranges.restore({ '10.0.1.0/24': 50 });
  assert.deepEqual(ranges.take(), ['10.0.1.50', 'fd00::2']);
  assert.deepEqual(ranges.positions(), { '10.0.1.0/24': 51, 'fd00::/126': 3 });
});
