import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type BusMessage, decodeMessage, encodeMessage, messageLength } from './message.ts';
import { BusReader, BusWriter, splitSignature } from './values.ts';

describe('messages of the bus', () => {
  it('are read as they were written', () => {
    const body = [
      'text',
      7,
      true,
      [1, 2],
      { signature: 't', value: 5_000_000n },
      [['a', { signature: 's', value: 'b' }]],
    ];
    const message: Omit<BusMessage, 'sender'> = {
      ...{ type: 'call' as const, serial: 3, path: '/a/b', interface: 'x.Y', member: 'Do', destination: 'x.y' },
      ...{ signature: 'subauva{sv}', body, descriptors: [] },
    };
    const bytes = encodeMessage({ ...message, body: [...body] });
    assert.equal(messageLength(bytes), bytes.length);
    assert.equal(messageLength(bytes.subarray(0, 10)), undefined);
    assert.deepEqual(
      decodeMessage(bytes, () => []),
      message,
    );
  });

  it('are aligned as the specification wants it', () => {
    const writer = new BusWriter();
    writer.write('yt', [1, 2n]);
    assert.deepEqual([...writer.bytes], [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    assert.deepEqual(new BusReader(writer.bytes).read('yt'), [1, 2n]);
    assert.deepEqual(splitSignature('sa(yv)a{sv}u'), ['s', 'a(yv)', 'a{sv}', 'u']);
    assert.throws(() => splitSignature('?'));
  });
});
