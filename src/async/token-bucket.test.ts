import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, TokenBucket } from './index.ts';

test('a bucket lets a burst through at once and the rest at its rate, in order', async () => {
  const clock = new FakeClock(0);
  const bucket = new TokenBucket({ perSecond: 10, burst: 2, clock });
  const done: number[] = [];
  const all = [1, 2, 3, 4].map((one) => bucket.take().then(() => done.push(one)));
  await Promise.all(all.slice(0, 2));
  assert.deepEqual(done, [1, 2]);
  await clock.advance(100);
  await all[2];
  assert.deepEqual(done, [1, 2, 3]);
  await clock.advance(100);
  await all[3];
});

test('who stops waiting leaves the turn to the next', async () => {
  const clock = new FakeClock(0);
  const bucket = new TokenBucket({ perSecond: 1, burst: 1, clock });
  await bucket.take();
  const end = new AbortController();
  const first = bucket.take(end.signal);
  end.abort(new Error('enough'));
  await assert.rejects(first, /enough/);
  let passed = false;
  const second = bucket.take().then(() => {
    passed = true;
  });
  await clock.advance(1000);
  await second;
  assert.ok(passed);
});
