import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressBytes, decodeAttributes, decodeMessages, encodeAttributes, encodeMessage } from './route-messages.ts';

test('attributes are padded to four bytes and can be nested', () => {
  const encoded = encodeAttributes([
    [3, 'lo'],
    [18, [[1, 'veth']]],
  ]);
  assert.equal(encoded.length % 4, 0);
  const decoded = decodeAttributes(encoded);
  assert.equal(decoded.get(3)?.toString(), 'lo\0');
  assert.equal(decodeAttributes(decoded.get(18)!).get(1)?.toString(), 'veth\0');
});

test('what is cut off is left out', () => {
  const message = encodeMessage(16, 5, 7, Buffer.from([1, 2, 3, 4]));
  assert.equal(decodeMessages(Buffer.concat([message, message])).length, 2);
  assert.equal(decodeMessages(Buffer.concat([message, message.subarray(0, 17)])).length, 1);
  assert.equal(decodeAttributes(Buffer.from([200, 0, 1, 0])).size, 0);
});

test('addresses become bytes', () => {
  assert.deepEqual([...addressBytes('10.0.0.255')], [10, 0, 0, 255]);
  assert.equal(addressBytes('fd00::1').toString('hex'), 'fd000000000000000000000000000001');
  assert.equal(addressBytes('::').toString('hex'), '0'.repeat(32));
  for (const text of ['10.0.0', '10.0.0.256', 'fd00:::1:2:3:4:5:6:7:8:9', 'x'])
    assert.throws(() => addressBytes(text), /is not an IP address/);
});
