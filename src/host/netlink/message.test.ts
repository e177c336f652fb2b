import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attributeString, eachAttribute, MessageWriter, readAttributes, readMessages } from './message.ts';

test('messages are written one after another and read back', () => {
  const writer = new MessageWriter({ firstSequence: 7, capacity: 16 });
  writer
    .begin(16, 0x400)
    .bytes(Buffer.from([1, 2, 3, 4, 5]))
    .string(3, 'eth0');
  writer.nest(18, () => writer.u8(1, 9).be16(2, 0x1234).u32(3, 5).be32(4, 5).be64(5, 6n).flag(6));
  writer.begin(17);
  const [first, second, ...rest] = [...readMessages(writer.finish())];
  assert.equal(rest.length, 0);
  assert.deepEqual([first!.type, first!.flags, first!.sequence], [16, 0x401, 7]);
  assert.deepEqual([second!.type, second!.sequence, second!.payload.length], [17, 8, 0]);
  const attributes = readAttributes(first!.payload, 5);
  assert.equal(attributeString(attributes.get(3)), 'eth0');
  const inner = [...eachAttribute(attributes.get(18)!)].map(([type, value]) => `${type}:${value.toString('hex')}`);
  assert.deepEqual(inner, ['1:09', '2:1234', '3:05000000', '4:00000005', '5:0000000000000006', '6:']);
});

test('an attribute over 64 KiB is refused instead of being cut', () => {
  const writer = new MessageWriter().begin(1);
  assert.throws(() => writer.attribute(1, Buffer.alloc(70_000)), RangeError);
  assert.throws(
    () =>
      writer.nest(2, () => {
        for (let i = 0; i < 10; i++) writer.attribute(1, Buffer.alloc(10_000));
      }),
    RangeError,
  );
});

test('a cut datagram gives only whole messages', () => {
  const writer = new MessageWriter().begin(1).u32(1, 1).begin(2).u32(1, 1);
  assert.equal([...readMessages(writer.finish().subarray(0, 30))].length, 1);
});
