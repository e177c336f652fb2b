import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { FakeClock, systemClock } from '../../async/index.ts';
import { FairTimeout } from './fair-timeout.ts';

function busy(ms: number): void {
  const end = systemClock.monotonic() + ms;
  while (systemClock.monotonic() < end);
}

test('time in which this process was busy does not count', async () => {
  const startedAt = systemClock.monotonic();
  const limit = new FairTimeout(systemClock, 50);
  busy(250);
  await once(limit.signal, 'abort');
  assert.ok(systemClock.monotonic() - startedAt >= 440, 'the 200 ms that it was late came on top');
});

test('it ends in time otherwise, and not at all once it is cancelled', async () => {
  const clock = new FakeClock();
  const limit = new FairTimeout(clock, 1000);
  await clock.advance(999);
  assert.equal(limit.isOver, false);
  await clock.advance(2);
  assert.equal(limit.isOver, true);
  const cancelled = new FairTimeout(clock, 10);
  cancelled.cancel();
  await clock.advance(100);
  assert.equal(cancelled.isOver, false);
});
