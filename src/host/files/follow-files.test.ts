import assert from 'node:assert/strict';
import { mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pollUntil, systemClock } from '../../async/index.ts';
import { createLogger } from '../../log/index.ts';
import { followFiles } from './follow-files.ts';

const log = createLogger('test', () => {});

test('files that are written, replaced, or behind a link that is swapped are read again without a wait', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'deckhand-follow-'));
  const abort = new AbortController();
  try {
    const path = (name: string) => join(directory, name);
    await writeFile(path('one'), '1');
    await writeFile(path('two'), '22');
    await symlink('one', path('file'));
    let calls = 0;
    const changed = async () => {
      calls++;
      if (calls === 2) throw new Error('half');
    };
    // So long a pause by the clock that only notices can be the reason.
    const options = { what: 'test', clock: systemClock, log, signal: abort.signal, lookMs: 100_000, settleMs: 20 };
    const following = followFiles([path('file')], changed, options);
    const until = (count: number) => pollUntil(`${count} calls`, () => calls >= count, { timeoutMs: 5_000 });
    const provoke = async (count: number, work: (attempt: number) => Promise<void>) => {
      for (let attempt = 0; calls < count; attempt++) {
        await work(attempt);
        await Promise.race([until(count), systemClock.sleep(300)]);
      }
    };
    await provoke(1, (attempt) => writeFile(path('one'), `x${attempt}`));
    await provoke(2, async (attempt) => {
      await symlink(attempt % 2 === 0 ? 'two' : 'one', path('next'));
      await rename(path('next'), path('file'));
    });
    assert.equal(calls, 2);
    await provoke(3, (attempt) => writeFile(path('file'), `more ${attempt}`));
    abort.abort(new Error('done'));
    await following;
  } finally {
    abort.abort(new Error('done'));
    await rm(directory, { recursive: true });
  }
});
