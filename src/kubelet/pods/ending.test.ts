import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { FakeClock } from '../../async/index.ts';
import { createLogger } from '../../log/index.ts';
import { makePod } from '../testing/pods.ts';
import { graceLeftMs, noteEnding, restoreEnding, setKillTime } from './ending.ts';
import type { PodKit } from './kit.ts';
import { createRecord } from './pod-record.ts';

describe('the end of a pod', () => {
  let root: string;
  const warnings: string[] = [];
  const log = createLogger('test', (_level, _component, message) => warnings.push(message));
  const kitAt = (clock: FakeClock) => ({ clock, log, settings: { rootDirectory: root } }) as unknown as PodKit;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'dh-ending-'));
    await mkdir(join(root, 'pods', 'uid-1'), { recursive: true });
    warnings.length = 0;
  });
  afterEach(() => rm(root, { recursive: true }));

  it('has a grace period that is shortened and never lengthened', async () => {
    const clock = new FakeClock(1_000_000);
    const record = createRecord(makePod(), clock.now());
    setKillTime(kitAt(clock), record, 600);
    await clock.advance(100_000);
    setKillTime(kitAt(clock), record, 600);
    assert.equal(graceLeftMs(kitAt(clock), record), 500_000);
    setKillTime(kitAt(clock), record, 30);
    assert.equal(graceLeftMs(kitAt(clock), record), 30_000);
  });

  it('goes on where it was after a restart: grace, hooks, and why', async () => {
    const before = new FakeClock(1_000_000);
    const record = createRecord(makePod(), before.now());
    record.failure = { reason: 'Evicted', message: 'too much' };
    record.hooksDone.add('main-0');
    setKillTime(kitAt(before), record, 30);
    await before.advance(10_000);
    await noteEnding(kitAt(before), record);
    const later = new FakeClock(1_015_000);
    const again = createRecord(makePod(), later.now());
    await restoreEnding(kitAt(later), again);
    assert.equal(graceLeftMs(kitAt(later), again), 15_000);
    assert.deepEqual([...again.hooksDone], ['main-0']);
    assert.equal(again.failure?.reason, 'Evicted');
  });

  it('is not put off by a clock that was set back, and is over by one that was set forward', async () => {
    const before = new FakeClock(10_000_000);
    const record = createRecord(makePod(), before.now());
    setKillTime(kitAt(before), record, 30);
    await noteEnding(kitAt(before), record);
    for (const [at, leftMs] of [
      [10_000_000 - 3_600_000, 30_000],
      [10_000_000 + 3_600_000, 0],
    ] as const) {
      const clock = new FakeClock(at);
      const again = createRecord(makePod(), clock.now());
      await restoreEnding(kitAt(clock), again);
      assert.equal(graceLeftMs(kitAt(clock), again), leftMs);
    }
  });

  it('begins anew when what was noted cannot be read, and is nothing without a note', async () => {
    const clock = new FakeClock(1000);
    const record = createRecord(makePod(), clock.now());
    await restoreEnding(kitAt(clock), record);
    assert.equal(record.killAt, undefined);
    await writeFile(join(root, 'pods', 'uid-1', 'ending.json'), '{"version":');
    await restoreEnding(kitAt(clock), record);
    assert.equal(record.killAt, undefined);
    assert.equal(warnings.length, 1);
  });
});
