import assert from 'node:assert/strict';
import { appendFile, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { LogOptions } from './log-options.ts';
import { readLog } from './read-log.ts';

let directory: string;
let path: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'dh-log-'));
  path = join(directory, '0.log');
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const record = (text: string, tag = 'F', stream = 'stdout', second = 0) =>
  `2026-01-02T03:04:0${second}.123456789Z ${stream} ${tag} ${text}\n`;
const still = { isRunning: () => false, onChange: () => {} };
async function read(options: Partial<LogOptions>): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of readLog(
    path,
    { follow: false, timestamps: false, ...options },
    still,
    new AbortController().signal,
  ))
    parts.push(part);
  return Buffer.concat(parts).toString();
}

test('lines come back as they were written, whatever the options', async () => {
  await writeFile(
    path,
    record('one') +
      record('half ', 'P') +
      record('whole') +
      record('err', 'F', 'stderr', 5) +
      record('') +
      record('last', 'F', 'stdout', 9),
  );
  assert.equal(await read({}), 'one\nhalf whole\nerr\n\nlast\n');
  assert.equal(await read({ tailLines: 2 }), '\nlast\n');
  assert.equal(await read({ tailLines: 4 }), 'half whole\nerr\n\nlast\n');
  assert.equal(await read({ tailLines: 0 }), '');
  assert.equal(await read({ tailLines: 100 }), 'one\nhalf whole\nerr\n\nlast\n');
  assert.equal(await read({ stream: 'stderr' }), 'err\n');
  assert.equal(await read({ limitBytes: 5 }), 'one\nh');
  assert.equal(await read({ sinceMs: Date.parse('2026-01-02T03:04:04Z') }), 'err\nlast\n');
  assert.equal(await read({ timestamps: true, tailLines: 1 }), '2026-01-02T03:04:09.123456789Z last\n');
});

test('a tail over many chunks finds its place', async () => {
  await writeFile(path, Array.from({ length: 5000 }, (_, at) => record(`line ${at} ${'x'.repeat(50)}`)).join(''));
  const lines = (await read({ tailLines: 2000 })).trim().split('\n');
  assert.equal(lines.length, 2000);
  assert.match(lines[0]!, /^line 3000 /);
});

test('following goes through a rotation and ends with the container', async () => {
  await writeFile(path, record('a'));
  let running = true;
  let notify = () => {};
  const hooks = { isRunning: () => running, onChange: (callback: () => void) => void (notify = callback) };
  let text = '';
  const reading = (async () => {
    for await (const part of readLog(path, { follow: true, timestamps: false }, hooks, new AbortController().signal)) {
      text += part;
      if (text === 'a\n') {
        await appendFile(path, record('b'));
        await rename(path, `${path}.1`);
        await writeFile(path, record('c'));
      }
      if (text === 'a\nb\nc\n') {
        await appendFile(path, record('d'));
        running = false;
        notify();
      }
    }
  })();
  await reading;
  assert.equal(text, 'a\nb\nc\nd\n');
});

const numbered = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => {
    const time = new Date(Date.UTC(2026, 0, 2) + (from + i) * 1000).toISOString().replace('Z', '000000Z');
    return `${time} stdout F line ${from + i}\n`;
  }).join('');
const numbersIn = (text: string) => [...text.matchAll(/^line (\d+)$/gm)].map(([, number]) => Number(number));
const upTo = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
const compress = async (file: string): Promise<void> => {
  await writeFile(`${file}.gz`, gzipSync(await readFile(file)));
  await rm(file);
};

test('rotated files are read too, compressed or not, and a tail goes on in them', async () => {
  await writeFile(`${path}.20260102-000000`, numbered(0, 100));
  await compress(`${path}.20260102-000000`);
  await writeFile(`${path}.20260102-000100`, numbered(100, 200));
  await writeFile(`${path}.20260102-000200.tmp`, 'half of a file that is being compressed');
  await writeFile(path, numbered(200, 205));
  assert.deepEqual(numbersIn(await read({})), upTo(0, 205));
  for (const count of [0, 1, 5, 6, 104, 106, 300])
    assert.deepEqual(numbersIn(await read({ tailLines: count })), upTo(Math.max(0, 205 - count), 205), `${count}`);
  const sinceMs = Date.UTC(2026, 0, 2) + 150_000;
  assert.deepEqual(numbersIn(await read({ sinceMs })), upTo(150, 205));
  await rm(path);
  assert.deepEqual(numbersIn(await read({ tailLines: 2 })), [198, 199], 'moved aside, and no new one yet');
});

test('a reader that is several files behind gets every line once', async () => {
  await writeFile(path, numbered(0, 5000));
  let running = true;
  const listeners: (() => void)[] = [];
  const hooks = { isRunning: () => running, onChange: (callback: () => void) => void listeners.push(callback) };
  const options = { follow: true, timestamps: false };
  const lines = readLog(path, options, hooks, new AbortController().signal)[Symbol.asyncIterator]();
  let text = ((await lines.next()).value as Buffer).toString();
  assert.ok(numbersIn(text).length < 5000, 'the reader is not at the end yet');
  // Meanwhile: rotated three times, the oldest ones compressed.
  for (const [turn, from] of [5000, 5100, 5200].entries()) {
    await rename(path, `${path}.20260102-00000${turn}`);
    if (turn > 0) await compress(`${path}.20260102-00000${turn - 1}`);
    await writeFile(path, numbered(from, from + 100));
  }
  running = false;
  for (const listener of listeners) listener();
  for (let next = await lines.next(); !next.done; next = await lines.next()) text += next.value.toString();
  assert.deepEqual(numbersIn(text), upTo(0, 5300));
});
