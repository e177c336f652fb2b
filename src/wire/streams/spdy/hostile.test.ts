import assert from 'node:assert/strict';
import { type Duplex, duplexPair } from 'node:stream';
import { test } from 'node:test';
import { deflateSync } from 'node:zlib';
import { FakeClock } from '../../../async/index.ts';
import { resetCodes } from './errors.ts';
import { type Frame, FrameReader, frameTypes, writeFrame } from './frames.ts';
import { HeaderPacker } from './header-block.ts';
import { SpdySession } from './session.ts';
import type { SpdyStream } from './stream.ts';

/** A session and a peer that writes what it likes. */
function meet(options: { clock?: FakeClock; stallTimeoutMs?: number; read?: boolean } = {}) {
  const { read = true, ...more } = options;
  const [own, peer] = duplexPair();
  const streams: SpdyStream[] = [];
  const frames: Frame[] = [];
  const reader = new FrameReader();
  let end: { error: Error | undefined } | undefined;
  const session = new SpdySession(own, {
    role: 'server',
    onStream: (stream) => {
      streams.push(stream);
      if (read) stream.resume();
    },
    onClose: (error) => {
      end = { error };
    },
    ...more,
  });
  peer.on('error', () => {});
  peer.on('data', (chunk: Buffer) => frames.push(...reader.read(chunk)));
  return { session, peer, own, streams, frames, ended: () => end };
}

const turns = async (count = 20): Promise<void> => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
};

/** A control frame with any type, flags, version, claimed length and body. */
function frame(type: number, body: Buffer, { flags = 0, version = 3, length = body.length } = {}): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE((0x80000000 | (version << 16) | type) >>> 0, 0);
  head[4] = flags;
  head.writeUIntBE(length, 5, 3);
  return Buffer.concat([head, body]);
}

const words = (...numbers: number[]): Buffer => {
  const bytes = Buffer.alloc(numbers.length * 4);
  numbers.forEach((number, index) => void bytes.writeUInt32BE(number >>> 0, index * 4));
  return bytes;
};

const open = (id: number, packer = new HeaderPacker()): Buffer =>
  writeFrame.synStream(id, packer.pack({ streamtype: 'data' }));

const bomb = deflateSync(Buffer.alloc(50 << 20));
const many = deflateSync(Buffer.concat([words(1_000_000), ...Array.from({ length: 1000 }, () => words(0, 0))]));

/** What breaks the protocol so that nothing after it can be trusted. */
const fatal: Record<string, Buffer> = {
  'a control frame as long as can be': frame(frameTypes.ping, Buffer.alloc(0), { length: 0xffffff }),
  'another version': frame(frameTypes.ping, words(1), { version: 2 }),
  'a stream of our parity': open(2),
  'stream 0': open(0),
  'a stream number that falls': Buffer.concat([open(7), open(5)]),
  'headers that are a bomb': frame(frameTypes.synStream, Buffer.concat([words(1, 0), Buffer.alloc(2), bomb])),
  'a million headers': frame(frameTypes.synStream, Buffer.concat([words(1, 0), Buffer.alloc(2), many])),
  'headers without zlib': frame(frameTypes.synStream, Buffer.concat([words(1, 0), Buffer.alloc(2), words(1, 2, 3)])),
  'headers that are cut': frame(
    frameTypes.synStream,
    Buffer.concat([words(1, 0), Buffer.alloc(2), new HeaderPacker().pack({ streamtype: 'data' }).subarray(0, -8)]),
  ),
  'a frame too short for its type': frame(frameTypes.windowUpdate, words(1)),
  'settings that claim more than there are': frame(frameTypes.settings, words(0x0fffffff, 7, 1)),
  'a session window that overflows': Buffer.concat([
    writeFrame.windowUpdate(0, 0x7fffffff),
    writeFrame.windowUpdate(0, 1),
  ]),
};

for (const [name, bytes] of Object.entries(fatal)) {
  test(`${name}: the session says goodbye and ends`, async () => {
    const { peer, frames, ended, session } = meet();
    peer.write(Buffer.concat([bytes, writeFrame.ping(1), writeFrame.ping(3)]));
    await turns();
    assert.ok(ended(), 'the session goes on');
    assert.ok(frames.some(({ kind }) => kind === 'goAway'));
    assert.ok(!frames.some((one) => one.kind === 'ping' && one.id === 3));
    session.destroy();
  });
}

test('what concerns one stream ends that one only', async () => {
  const { peer, frames, streams, ended, session } = meet();
  const packer = new HeaderPacker();
  peer.write(Buffer.concat([open(1, packer), open(3, packer)]));
  // Data for streams that never were, are over, or are ours.
  const data = (id: number) => [writeFrame.dataHead(id, 4, false), Buffer.from('data')];
  peer.write(Buffer.concat([...data(99), ...data(0), ...data(2), writeFrame.rstStream(3, 5), ...data(3)]));
  peer.write(Buffer.concat([writeFrame.windowUpdate(1, 0x7fffffff), writeFrame.windowUpdate(55, 1)]));
  peer.write(
    Buffer.concat([writeFrame.rstStream(77, 12345), frame(200, words(1, 2)), writeFrame.synReply(1, packer.pack({}))]),
  );
  await turns();
  assert.equal(ended(), undefined);
  const resets = frames.flatMap((one) => (one.kind === 'rstStream' ? [[one.streamId, one.status]] : []));
  assert.deepEqual(resets[0], [99, resetCodes.INVALID_STREAM]);
  assert.ok(resets.some(([id]) => id === 1));
  assert.ok(streams.every(({ destroyed }) => destroyed));
  peer.write(Buffer.concat([open(101, packer), writeFrame.ping(7)]));
  await turns();
  assert.ok(frames.some((one) => one.kind === 'ping' && one.id === 7));
  assert.equal(session.streamCount, 1);
  session.destroy();
});

test('a thousand streams and no more', async () => {
  const { peer, frames, session } = meet();
  const packer = new HeaderPacker();
  for (let id = 1; id < 3000; id += 2) peer.write(open(id, packer));
  await turns(200);
  assert.equal(session.streamCount, 1000);
  const refused = frames.filter((one) => one.kind === 'rstStream' && one.status === resetCodes.REFUSED_STREAM);
  assert.equal(refused.length, 500);
  session.destroy();
});

test('a peer that asks and never listens is not read any more', async () => {
  const [own, peer] = duplexPair();
  const session = new SpdySession(own, { role: 'server', onStream: (stream) => void stream.resume() });
  peer.on('error', () => {});
  const pings = Buffer.concat(Array.from({ length: 5000 }, () => writeFrame.ping(1)));
  let written = 0;
  while (written < 200 && peer.write(pings)) {
    written++;
    await turns(2);
  }
  assert.ok(written < 100, `${written} times 60,000 bytes were read`);
  assert.ok(own.writableLength < 1 << 20, `${own.writableLength} bytes wait`);
  // It listens after all.
  let answers = 0;
  const reader = new FrameReader();
  peer.on('data', (chunk: Buffer) => {
    for (const { kind } of reader.read(chunk)) if (kind === 'ping') answers++;
  });
  while (answers < 5000 * (written + 1)) await turns(1);
  session.destroy();
});

/** Writes as a peer that knows no windows. */
async function flood(peer: Duplex, id: number, bytes: number): Promise<void> {
  for (let sent = 0; sent < bytes; sent += 65_536) {
    peer.write(writeFrame.dataHead(id, 65_536, false));
    if (!peer.write(Buffer.alloc(65_536))) await turns(3);
  }
}

test('a peer without windows is held up by a stream that nobody reads, and goes on with it', async () => {
  const { peer, streams, session } = meet({ read: false });
  peer.write(open(1));
  await flood(peer, 1, 20 << 20);
  const [stream] = streams;
  assert.ok(stream!.queuedBytes + stream!.readableLength < 3 << 20, `${stream!.queuedBytes} bytes are kept`);
  let read = 0;
  stream!.on('data', (part: Buffer) => {
    read += part.length;
  });
  while (read < 20 << 20) await turns(1);
  session.destroy();
});

test('a stream that is stuck too long is reset when others wait for it', async () => {
  const clock = new FakeClock();
  const { peer, streams, frames, session } = meet({ clock, stallTimeoutMs: 10_000, read: false });
  const packer = new HeaderPacker();
  peer.write(Buffer.concat([open(1, packer), open(3, packer), open(5, packer)]));
  await flood(peer, 1, 4 << 20);
  peer.write(Buffer.concat([writeFrame.dataHead(5, 5, false), Buffer.from('hello')]));
  await turns();
  assert.equal(streams[2]!.queuedBytes + streams[2]!.readableLength, 0);
  await clock.advance(10_001);
  await turns(300);
  assert.ok(streams[0]!.destroyed);
  assert.ok(frames.some((one) => one.kind === 'rstStream' && one.streamId === 1));
  assert.equal(streams[2]!.read()?.toString(), 'hello');
  session.destroy();
});

test('a long frame that comes byte by byte is put together once', () => {
  const reader = new FrameReader();
  const bytes = frame(frameTypes.headers, Buffer.alloc(60_000));
  const frames: Frame[] = [];
  for (let round = 0; round < 20; round++)
    for (let at = 0; at < bytes.length; at++) frames.push(...reader.read(bytes.subarray(at, at + 1)));
  assert.equal(frames.length, 20);
});
