import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { makeEnded } from '../testing/pods.ts';
import { crashDelay, nextCrashDelay, remainingDelay } from './crash-backoff.ts';
import { annotations } from './names.ts';

const { hash } = makeEnded('main', 1);
const maximumMs = 300_000;
const ended = (noted?: number, more = {}) =>
  makeEnded('main', 1, {
    annotations: noted === undefined ? {} : { [annotations.crashDelay]: String(noted) },
    ...more,
  });

describe('the crash back-off', () => {
  it('is nothing at first, then 10 s, and doubles up to the maximum', () => {
    const delays: number[] = [];
    let noted = nextCrashDelay(undefined, maximumMs);
    for (let run = 0; run < 8; run++) {
      const delayMs = crashDelay(ended(noted), hash, maximumMs);
      delays.push(delayMs / 1000);
      noted = nextCrashDelay(delayMs, maximumMs);
    }
    assert.deepEqual(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
  });

  it('keeps to the cap of the node', () => {
    assert.equal(crashDelay(ended(80_000), hash, 5000), 5000);
    assert.equal(nextCrashDelay(0, 5000), 5000);
  });

  it('starts over with another image and after ten minutes', () => {
    assert.equal(crashDelay(ended(80_000), 'other', maximumMs), 0);
    assert.equal(crashDelay(ended(80_000, { startedAt: 1, finishedAt: 600_002 }), hash, maximumMs), 0);
    assert.equal(crashDelay(ended(80_000, { startedAt: 1, finishedAt: 590_000 }), hash, maximumMs), 80_000);
  });

  it('is guessed from the count of restarts for containers of another kubelet', () => {
    const delays = [0, 1, 2, 9].map((restartCount) => crashDelay(ended(undefined, { restartCount }), hash, maximumMs));
    assert.deepEqual(delays, [0, 10_000, 20_000, 300_000]);
  });

  it('counts on the clock that does not jump, and never waits longer than the whole', () => {
    assert.equal(remainingDelay(ended(0, { endedMonotonic: 5000 }), 10_000, 8000), 7000);
    assert.equal(remainingDelay(ended(0, { endedMonotonic: 5000 }), 10_000, 20_000), 0);
    assert.equal(remainingDelay(ended(0, { endedMonotonic: 90_000 }), 10_000, 8000), 10_000);
    assert.equal(remainingDelay(ended(0), 10_000, 8000), 10_000);
  });
});
