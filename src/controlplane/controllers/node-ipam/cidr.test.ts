import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatCidr, freeRange, parseCidr } from './cidr.ts';

test('ranges are given out in order, and again when free', () => {
  const whole = parseCidr('10.244.0.0/16');
  const used = ['10.244.0.0/24', '10.244.2.0/24'].map(parseCidr);
  assert.equal(formatCidr(freeRange(whole, 24, used)!), '10.244.1.0/24');
  assert.equal(formatCidr(freeRange(whole, 24, [parseCidr('10.244.0.0/22')])!), '10.244.4.0/24');
  assert.equal(freeRange(parseCidr('10.0.0.0/24'), 25, ['10.0.0.0/25', '10.0.0.128/25'].map(parseCidr)), undefined);
  assert.equal(formatCidr(freeRange(parseCidr('10.0.0.0/26'), 24, [])!), '10.0.0.0/26');
});

test('IPv6', () => {
  const whole = parseCidr('fd00:10:244::/48');
  assert.equal(formatCidr(freeRange(whole, 64, [parseCidr('fd00:10:244::/64')])!), 'fd00:10:244:1::/64');
  assert.throws(() => parseCidr('fd00::1::/64'), RangeError);
});
