import assert from 'node:assert/strict';
import { closeSync, constants, existsSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../async/index.ts';
import { makeSpecialFile } from '../../host/files/index.ts';
import { OciRuntime } from './oci-runtime.ts';

function withFifo(check: (runtime: OciRuntime, fifo: string) => Promise<void>): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'dh-oci-'));
  mkdirSync(join(root, 'c1'));
  const fifo = join(root, 'c1/exec.fifo');
  makeSpecialFile(fifo, 'fifo', 0o600);
  const runtime = new OciRuntime({ name: 'runc', path: '/usr/sbin/runc', root, clock: systemClock, timeoutMs: 10_000 });
  return check(runtime, fifo).finally(() => rmSync(root, { recursive: true }));
}

/** What runc's process does at the FIFO just before it becomes the container's program. */
function announce(fifo: string): void {
  const file = openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK);
  writeSync(file, '0');
  closeSync(file);
}

test('a container whose whole life falls between two looks was started', () =>
  withFifo(async (runtime, fifo) => {
    const process = {
      // It starts and ends at the very moment at which it is looked for.
      get pid(): number {
        announce(fifo);
        return globalThis.process.pid;
      },
      startTime: 'another process',
    };
    await runtime.start('c1', process);
    assert.ok(!existsSync(fifo));
  }));

test('a container that ended without a sign at the FIFO was not started', () =>
  withFifo(async (runtime) => {
    const gone = { pid: process.pid, startTime: 'another process' };
    await assert.rejects(runtime.start('c1', gone), /ended before it was started/);
  }));
