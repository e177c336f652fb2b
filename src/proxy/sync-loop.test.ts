import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../async/index.ts';
import { SyncLoop } from './sync-loop.ts';

test('the first request acts at once, a burst is one run, and the pause holds', async () => {
  const clock = new FakeClock();
  const runs: number[] = [];
  const loop = new SyncLoop({
    clock,
    minimumPauseMs: () => 1000,
    run: async () => void runs.push(clock.monotonic()),
    onError: (error) => assert.fail(String(error)),
  });
  for (let i = 0; i < 5; i++) loop.request();
  await clock.advance(0);
  assert.deepEqual(runs, [0]);
  loop.request();
  await clock.advance(999);
  assert.deepEqual(runs, [0]);
  await clock.advance(1);
  assert.deepEqual(runs, [0, 1000]);
  loop.request();
  loop.requestNow();
  await clock.advance(0);
  assert.deepEqual(runs, [0, 1000, 1000], 'what is urgent does not wait');
  await loop.stop();
});

test('without a pause given, it is as long as the run before took, a second at most', async () => {
  const clock = new FakeClock();
  const runs: number[] = [];
  let takes = 30;
  const loop = new SyncLoop({
    clock,
    minimumPauseMs: () => undefined,
    run: async () => {
      runs.push(clock.monotonic());
      await clock.sleep(takes);
    },
    onError: (error) => assert.fail(String(error)),
  });
  const advance = async (ms: number) => {
    for (let at = 0; at < ms; at += 10) await clock.advance(10);
  };
  loop.request();
  await clock.advance(0);
  loop.request();
  await advance(100);
  assert.deepEqual(runs, [0, 60], 'a run of 30 ms, a pause of 30 ms');
  takes = 5000;
  loop.request();
  await advance(20);
  assert.deepEqual(runs, [0, 60, 120]);
  loop.request();
  await advance(5900);
  assert.equal(runs.length, 3);
  await advance(200);
  assert.equal(runs.length, 4);
  takes = 0;
  await advance(6000);
  await loop.stop();
});

test('a failed run is tried again with back-off', async () => {
  const clock = new FakeClock();
  const runs: number[] = [];
  const loop = new SyncLoop({
    clock,
    minimumPauseMs: () => 0,
    run: async () => {
      runs.push(clock.monotonic());
      if (runs.length < 3) throw new Error('no');
    },
    onError: () => {},
  });
  loop.request();
  for (let i = 0; i < 8; i++) await clock.advance(50);
  assert.deepEqual(runs, [0, 100, 300]);
  await loop.stop();
});
