import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { bindMount, isMountPoint, mountsUnder, unmount } from './index.ts';

test('mounts below a directory are found, the deepest first, whatever characters their names have', async () => {
  const base = await mkdtemp(join(tmpdir(), 'dh mounts \\ '));
  const [outer, inner, beside] = [join(base, 'a b'), join(base, 'a b', 'c\\d'), join(base, 'a bc')];
  await mkdir(outer);
  await mkdir(beside);
  try {
    bindMount(outer, outer);
    await mkdir(inner);
    bindMount(inner, inner);
    bindMount(beside, beside);
    assert.deepEqual(await mountsUnder(outer), [inner, outer]);
    assert.deepEqual(await mountsUnder(join(base, 'none')), []);
    assert.deepEqual([isMountPoint(inner), isMountPoint(base)], [true, false]);
  } finally {
    for (const one of [inner, outer, beside]) unmount(one);
    await rm(base, { recursive: true, force: true });
  }
});
