import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../async/index.ts';
import { Attempts } from './attempts.ts';

function setUp() {
  const clock = new FakeClock();
  const attempts = new Attempts(clock);
  const tries: number[] = [];
  const state = { fails: true };
  const run = (signal = new AbortController().signal) =>
    attempts.until('pod/volume', { owner: 'pod', signal, onFailure: () => {} }, async () => {
      tries.push(clock.monotonic());
      if (state.fails) throw new Error('no');
      return 'done';
    });
  return { clock, attempts, tries, state, run };
}

test('delays grow from half a second to two minutes and two seconds, also for the next who asks', async () => {
  const { clock, tries, state, run } = setUp();
  const stop = new AbortController();
  const first = run(stop.signal);
  await clock.advance(400_000);
  const waits = tries.slice(1).map((at, index) => (at - tries[index]!) / 1000);
  assert.deepEqual(waits, [0.5, 1, 2, 4, 8, 16, 32, 64, 122, 122]);
  stop.abort(new Error('enough'));
  await assert.rejects(first, /enough/);
  state.fails = false;
  const second = run();
  await clock.advance(60_000);
  assert.equal(tries.length, 11, 'the delay still holds');
  await clock.advance(62_000);
  assert.equal(await second, 'done');
});

test('news end a delay; news that come while a task runs have it run again at once', async () => {
  const { clock, attempts, tries, state, run } = setUp();
  const waiting = run();
  await clock.advance(600);
  assert.equal(tries.length, 2);
  attempts.wake('other');
  await clock.advance(1);
  assert.equal(tries.length, 2);
  state.fails = false;
  attempts.wake('pod');
  assert.equal(await waiting, 'done');
  let count = 0;
  const result = attempts.until(
    'pod/x',
    { owner: 'pod', signal: new AbortController().signal, onFailure: () => {} },
    async () => {
      if (count++ > 0) return 'seen';
      attempts.wake('pod');
      throw new Error('outdated');
    },
  );
  await clock.advance(0);
  assert.equal(await result, 'seen');
});
