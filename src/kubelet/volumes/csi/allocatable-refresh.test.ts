import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../../async/index.ts';
import { createLogger } from '../../../log/index.ts';
import { AllocatableRefresh } from './allocatable-refresh.ts';
import type { CsiDriverObjects } from './csi-context.ts';
import type { DriverRegistry } from './driver-registry.ts';

test('a driver is asked again at the period of its CSIDriver, until it has gone or no longer wants it', async () => {
  const clock = new FakeClock();
  const log = createLogger('test', () => {});
  let asked = 0;
  let present = true;
  let period: number | undefined = 10;
  const drivers = {
    has: () => present,
    refresh: async () => {
      if (asked++ === 0) throw new Error('not now');
    },
  } as unknown as DriverRegistry;
  const objects = {
    get: async () => ({ spec: { nodeAllocatableUpdatePeriodSeconds: period } }),
  } as unknown as CsiDriverObjects;
  const refresh = new AllocatableRefresh(drivers, objects, { log, clock });
  refresh.follow('d');
  await clock.advance(9_000);
  assert.equal(asked, 0);
  await clock.advance(1_000);
  assert.equal(asked, 1);
  // A failure is no reason to stop.
  await clock.advance(10_000);
  assert.equal(asked, 2);
  period = undefined;
  refresh.follow('d');
  await clock.advance(60_000);
  assert.equal(asked, 2);
  period = 10;
  refresh.follow('d');
  await clock.advance(1_000);
  present = false;
  await clock.advance(60_000);
  assert.equal(asked, 2);
  refresh.stop();
});
