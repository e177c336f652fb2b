import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { calls, results } from './calls.ts';
import { errnoName, hasErrno, SystemCallError } from './errors.ts';

test('a refused call says which, with what, and why', () => {
  assert.throws(
    () => calls.umount2('/no/such/place', 2),
    (error) =>
      error instanceof SystemCallError && error.errno > 0 && /^umount2\(\/no\/such\/place, 2\): E/.test(error.message),
  );
});

test('results are numbers, and failures negative ones', () => {
  const copy = results.dup(1);
  assert.ok(copy > 2);
  assert.equal(results.close(copy), 0);
  assert.equal(errnoName(-results.close(copy)), 'EBADF');
});

test('a call that waits does so on another thread', async () => {
  const directory = openSync(tmpdir(), 'r');
  try {
    assert.equal(await results.syncfs.onThread(directory), 0);
  } finally {
    closeSync(directory);
  }
  assert.equal(await results.syncfs.onThread(-1), -1);
});

test('codes are looked up whatever the error is', () => {
  assert.ok(hasErrno(new SystemCallError(17, 'make it'), 'ENOENT', 'EEXIST'));
  assert.ok(!hasErrno(undefined, 'EEXIST'));
  assert.equal(errnoName(99999), 'errno 99999');
});
