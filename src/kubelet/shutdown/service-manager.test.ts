import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { FakeClock } from '../../async/index.ts';
import { calls, results } from '../../host/system-calls/index.ts';
import { createLogger } from '../../log/index.ts';
import { ServiceManager } from './service-manager.ts';

const log = createLogger('test', () => {});

describe('ServiceManager', () => {
  it('tells that it is ready, and feeds the watchdog twice in each interval', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'dh-notify-'));
    const socket = join(directory, 'notify');
    const [unixFamily, datagram, nonBlocking] = [1, 2, 0o4000];
    const fd = calls.socket(unixFamily, datagram | nonBlocking, 0);
    const address = Buffer.concat([Buffer.from([unixFamily, 0]), Buffer.from(socket)]);
    calls.bind(fd, address, address.length);
    const heard = (): string[] => {
      const buffer = Buffer.alloc(100);
      const all: string[] = [];
      for (let length = results.recv(fd, buffer, 100, 0); length > 0; length = results.recv(fd, buffer, 100, 0))
        all.push(buffer.toString('utf8', 0, length));
      return all;
    };
    try {
      const clock = new FakeClock();
      const watchdogPid = String(process.pid);
      const manager = new ServiceManager({ socket, watchdogUs: '4000000', watchdogPid }, clock, log);
      manager.start();
      manager.ready();
      await clock.advance(4000);
      assert.deepEqual(heard(), ['WATCHDOG=1', 'READY=1', 'WATCHDOG=1', 'WATCHDOG=1']);
      manager.stop();
      await clock.advance(4000);
      assert.deepEqual(heard(), []);
      const other = new ServiceManager({ socket, watchdogUs: '4000000', watchdogPid: '1' }, clock, log);
      other.start();
      assert.deepEqual(heard(), [], 'the watchdog of another process');
    } finally {
      calls.close(fd);
      await rm(directory, { recursive: true, force: true });
    }
  });

  it('refuses a watchdog that is too short, and does nothing without a service manager', () => {
    assert.throws(
      () => new ServiceManager({ socket: '/x', watchdogUs: '1000' }, new FakeClock(), log),
      /WATCHDOG_USEC/,
    );
    const none = new ServiceManager({}, new FakeClock(), log);
    none.start();
    none.ready();
  });
});
