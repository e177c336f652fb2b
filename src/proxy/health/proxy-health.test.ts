import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../async/index.ts';
import { ProxyHealth } from './proxy-health.ts';

test('a change that waits for longer than two sync periods makes an ill proxy, in its family', async () => {
  const clock = new FakeClock();
  let eligible = true;
  const health = new ProxyHealth({ clock, toleranceMs: () => 60_000, nodeEligible: () => eligible });
  health.queued('IPv4');
  await clock.advance(100_000);
  assert.equal(health.report(true).healthy, true, 'a proxy that starts is not ill');
  assert.equal(health.report(true).body['lastUpdated'], health.report(true).body['currentTime']);
  assert.equal(health.ready, false);
  health.updated('IPv4');
  health.updated('IPv6');
  health.serves();
  assert.equal(health.ready, true);
  health.queued('IPv6');
  await clock.advance(59_999);
  health.queued('IPv6');
  assert.equal(health.report(true).healthy, true);
  await clock.advance(1);
  const { healthy, body } = health.report(true);
  assert.equal(healthy, false);
  const status = body['status'] as Record<string, { healthy: boolean }>;
  assert.deepEqual([status['IPv4']!.healthy, status['IPv6']!.healthy], [true, false]);
  assert.notEqual(body['lastUpdated'], body['currentTime']);
  health.updated('IPv6');
  eligible = false;
  assert.deepEqual(
    [health.report(true), health.report(false)].map((one) => [
      one.healthy,
      one.body['healthy'],
      one.body['nodeEligible'],
    ]),
    [
      [false, true, false],
      [true, true, undefined],
    ],
  );
});
