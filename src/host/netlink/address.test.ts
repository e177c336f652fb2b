import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesToIp, ipToBytes, isIPv4, isIPv6 } from './address.ts';

test('addresses go to bytes and back in their canonical form', () => {
  for (const [text, canonical] of [
    ['10.0.0.1', '10.0.0.1'],
    ['::', '::'],
    ['::1', '::1'],
    ['fd00::', 'fd00::'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['FE80:0::1', 'fe80::1'],
    ['::ffff:10.1.2.3', '::ffff:a01:203'],
    ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
    ['1:0:3:4:5:6:7:8', '1:0:3:4:5:6:7:8'],
  ] as const)
    assert.equal(bytesToIp(ipToBytes(text)), canonical);
});

test('what is not an address is refused', () => {
  for (const text of [
    '',
    '1.2.3',
    '1.2.3.256',
    '01.2.3.4',
    'x',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    'fe80::1%eth0',
    '12345::',
    '1:2:3:4:5:6:7:8::',
  ]) {
    assert.equal(isIPv4(text) || isIPv6(text), false, text);
    assert.throws(() => ipToBytes(text), RangeError);
  }
});
