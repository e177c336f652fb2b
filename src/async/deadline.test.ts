import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unlessAborted } from './deadline.ts';

test('unlessAborted gives what the promise gives', async () => {
  assert.equal(await unlessAborted(Promise.resolve(1), new AbortController().signal), 1);
  await assert.rejects(unlessAborted(Promise.reject(new Error('own')), new AbortController().signal), /own/);
});

test('unlessAborted ends with the reason of the signal while the promise waits, and drops its later failure', async () => {
  const { promise, reject } = Promise.withResolvers<void>();
  const end = new AbortController();
  const waiting = unlessAborted(promise, end.signal);
  end.abort(new Error('stopped'));
  await assert.rejects(waiting, /stopped/);
  reject(new Error('late'));
  await assert.rejects(unlessAborted(promise, end.signal), /stopped|late/);
});
