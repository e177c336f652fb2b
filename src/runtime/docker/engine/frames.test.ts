import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FrameReader } from './frames.ts';

function frame(stream: number, text: string): Buffer {
  const header = Buffer.alloc(8);
  header[0] = stream;
  header.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([header, Buffer.from(text)]);
}

const read = (reader: FrameReader, chunk: Buffer) =>
  reader.push(chunk).map(({ stream, data }) => `${stream}: ${data.toString()}`);

test('frames come out whole however the bytes are cut', () => {
  const bytes = Buffer.concat([frame(1, 'one'), frame(2, ''), frame(2, 'two'), frame(1, 'x'.repeat(70_000))]);
  const expected = ['stdout: one', 'stderr: ', 'stderr: two', `stdout: ${'x'.repeat(70_000)}`];
  for (const size of [1, 3, 8, 11, 4096, bytes.length]) {
    const reader = new FrameReader();
    const found: string[] = [];
    for (let at = 0; at < bytes.length; at += size) found.push(...read(reader, bytes.subarray(at, at + size)));
    assert.deepEqual(found, expected, `cut into ${size}`);
  }
});

test('what is no such stream is an error', () => {
  assert.throws(() => new FrameReader().push(Buffer.from('HTTP/1.1 200 OK')), /unknown stream 72/);
});
