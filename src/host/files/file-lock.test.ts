import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { LockTakenError, lockFile } from './file-lock.ts';

test('one has the lock until it lets go', () => {
  const directory = mkdtempSync(join(tmpdir(), 'dh-lock-'));
  try {
    const path = join(directory, 'lock');
    const first = lockFile(path);
    assert.throws(
      () => lockFile(path),
      (error: unknown) => error instanceof LockTakenError && error.owner === process.pid,
    );
    first.release();
    lockFile(path).release();
  } finally {
    rmSync(directory, { recursive: true });
  }
});
