import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { duplexPair } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { test } from 'node:test';
import { constants, createDeflate } from 'node:zlib';
import { headerDictionary } from './dictionary.ts';
import { SpdyError } from './errors.ts';
import { type Frame, FrameReader, writeFrame } from './frames.ts';
import { HeaderPacker, HeaderUnpacker } from './header-block.ts';
import { SpdySession } from './session.ts';
import type { SpdyStream } from './stream.ts';

/** Small repeatable random numbers. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return state % below;
  };
}

test('headers of another implementation, with dictionary and history, are read', async () => {
  assert.equal(headerDictionary.length, 1423);
  const deflate = createDeflate({ dictionary: headerDictionary });
  const chunks: Buffer[] = [];
  deflate.on('data', (chunk: Buffer) => chunks.push(chunk));
  const pairs = (headers: [string, string][]) => {
    const part = (value: string) => Buffer.concat([Buffer.from([0, 0, 0, value.length]), Buffer.from(value)]);
    return Buffer.concat([Buffer.from([0, 0, 0, headers.length]), ...headers.flat().map(part)]);
  };
  const unpacker = new HeaderUnpacker();
  for (const headers of [
    [['streamtype', 'error']],
    [
      ['streamtype', 'data'],
      ['port', '8080'],
      ['requestid', '0'],
    ],
    [
      ['streamtype', 'data'],
      ['port', '8080'],
      ['requestid', '1'],
    ],
    [],
  ] as [string, string][][]) {
    deflate.write(pairs(headers));
    await new Promise<void>((resolve) => deflate.flush(constants.Z_SYNC_FLUSH, resolve));
    const block = Buffer.concat(chunks.splice(0));
    assert.deepEqual({ ...unpacker.unpack(block) }, Object.fromEntries(headers));
  }
});

test('headers come through our own packing, and rubbish is refused', () => {
  const packer = new HeaderPacker();
  const unpacker = new HeaderUnpacker();
  for (let i = 0; i < 50; i++) {
    const headers = { streamtype: 'stdin', n: String(i), long: 'x'.repeat(i * 100) };
    assert.deepEqual({ ...unpacker.unpack(packer.pack(headers)) }, headers);
  }
  const bomb = new HeaderPacker().pack({ a: 'x'.repeat(200_000) });
  for (const block of [Buffer.alloc(0), Buffer.from('hello'), bomb, bomb.subarray(0, 20)])
    assert.throws(() => new HeaderUnpacker().unpack(block), SpdyError);
});

test('frames are read the same however the bytes are split', () => {
  const bytes = Buffer.concat([
    writeFrame.synStream(1, Buffer.from('headers'), 1),
    writeFrame.ping(7),
    writeFrame.dataHead(1, 5, true),
    Buffer.from('hello'),
    writeFrame.windowUpdate(1, 100),
    writeFrame.dataHead(3, 0, true),
    writeFrame.rstStream(1, 5),
    writeFrame.goAway(1, 0),
  ]);
  const whole = summary([...new FrameReader().read(bytes)]);
  assert.equal(whole.length, 7);
  for (let size = 1; size < 30; size++) {
    const reader = new FrameReader();
    const frames: Frame[] = [];
    for (let at = 0; at < bytes.length; at += size) frames.push(...reader.read(bytes.subarray(at, at + size)));
    assert.deepEqual(summary(frames), whole);
  }
});

/** Frames with pieces of the same data put together. */
function summary(frames: Frame[]): string[] {
  const texts: string[] = [];
  let data = '';
  for (const frame of frames) {
    if (frame.kind !== 'data') texts.push(JSON.stringify(frame));
    else {
      data += frame.bytes.toString();
      if (frame.fin) texts.push(`data ${frame.streamId} ${data}`);
      if (frame.fin) data = '';
    }
  }
  return texts;
}

test('rubbish ends a session and nothing more', async () => {
  const next = numbers(42);
  for (let round = 0; round < 300; round++) {
    const [one, other] = duplexPair();
    other.on('error', () => {});
    other.resume();
    const closed = Promise.withResolvers<void>();
    const session = new SpdySession(one, {
      role: 'server',
      onStream: (stream) => void stream.resume(),
      onClose: () => closed.resolve(),
    });
    const valid = [
      writeFrame.synStream(1, new HeaderPacker().pack({ streamtype: 'error' })),
      writeFrame.dataHead(1, 4, false),
      Buffer.from('data'),
      writeFrame.ping(1),
      writeFrame.windowUpdate(next(3), next(0x7fffffff)),
      writeFrame.rstStream(1, next(12)),
      writeFrame.synStream(1 + next(4), randomBytes(next(64))),
    ];
    const bytes = Buffer.concat([...valid.slice(0, next(valid.length + 1)), randomBytes(next(200))]);
    for (let flips = next(4); flips > 0 && bytes.length > 0; flips--) bytes[next(bytes.length)]! ^= 1 << next(8);
    other.write(bytes);
    other.end();
    await closed.promise;
    session.destroy();
  }
});

function connect(onStream: (stream: SpdyStream) => void): { client: SpdySession; server: SpdySession } {
  const [one, other] = duplexPair();
  return {
    server: new SpdySession(one, { role: 'server', onStream }),
    client: new SpdySession(other, { role: 'client' }),
  };
}

test('streams carry megabytes both ways, with flow control, and end each by itself', async () => {
  const { client, server } = connect((stream) => void stream.pipe(stream));
  const sent = Array.from({ length: 5 }, () => randomBytes(3_000_000));
  const received = await Promise.all(
    sent.map(async (bytes) => {
      const stream = client.open({ streamtype: 'data' });
      stream.end(bytes);
      return buffer(stream);
    }),
  );
  for (const [index, bytes] of sent.entries()) assert.ok(bytes.equals(received[index]!));
  assert.equal(client.streamCount, 0);
  client.close();
  server.close();
});

test('a stream that nobody reads does not hold up another, and a reset reaches the other side', async () => {
  const slow = Promise.withResolvers<SpdyStream>();
  const { client, server } = connect((stream) => {
    if (stream.headers['streamtype'] === 'slow') slow.resolve(stream);
    else stream.pipe(stream);
  });
  const stuck = client.open({ streamtype: 'slow' });
  stuck.write(Buffer.alloc(10_000_000));
  const quick = client.open({ streamtype: 'quick' });
  quick.end('hello');
  assert.equal(await text(quick), 'hello');
  const atServer = await slow.promise;
  stuck.destroy();
  atServer.resume();
  await once(atServer, 'close');
  assert.equal(server.streamCount, 0);
  server.destroy();
  await assert.rejects(async () => client.open({ streamtype: 'late' }).accepted, { code: 'SESSION_CLOSED' });
});

test('the last words before a reset are not lost', async () => {
  const { client, server } = connect((stream) => {
    stream.write('Success', () => stream.destroy());
  });
  const stream = client.open({ streamtype: 'error' }, { finished: true });
  await stream.accepted;
  await once(stream, 'readable');
  assert.equal(await text(stream), 'Success');
  client.close();
  server.close();
});
