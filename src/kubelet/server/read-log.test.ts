import assert from 'node:assert/strict';
import { appendFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
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
