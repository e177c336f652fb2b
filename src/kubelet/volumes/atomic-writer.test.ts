import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { unmount } from '../../host/mounts/index.ts';
import { type Payload, writeAtomically } from './atomic-writer.ts';
import { bindSubPath } from './sub-path.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'dh-volumes-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const payload = (files: Record<string, string>, mode = 0o644): Payload =>
  new Map(Object.entries(files).map(([path, text]) => [path, { data: Buffer.from(text), mode }]));

test('a payload is switched at once, and what is gone is removed', async () => {
  assert.equal(await writeAtomically(directory, payload({ a: '1', 'deep/b': '2' })), true);
  assert.equal(await readFile(join(directory, 'a'), 'utf8'), '1');
  assert.equal(await readFile(join(directory, 'deep/b'), 'utf8'), '2');
  assert.equal(await writeAtomically(directory, payload({ a: '1', 'deep/b': '2' })), false, 'nothing changed');
  assert.equal(await writeAtomically(directory, payload({ c: '3' }, 0o400)), true);
  assert.deepEqual(
    (await readdir(directory)).filter((name) => !name.startsWith('..')),
    ['c'],
  );
  assert.equal((await stat(join(directory, 'c'))).mode & 0o777, 0o400);
  assert.equal(
    (await readdir(directory)).filter((name) => name.startsWith('..payload')).length,
    1,
    'the old set is gone',
  );
});

test('a subPath is bound, made when it is missing, and cannot leave the volume', async () => {
  const volume = join(directory, 'volume');
  await mkdir(join(volume, 'data'), { recursive: true });
  await writeFile(join(volume, 'data/file'), 'hello');
  const target = join(directory, 'target');
  try {
    await bindSubPath(volume, 'data', target);
    assert.equal(await readFile(join(target, 'file'), 'utf8'), 'hello');
    const fileTarget = join(directory, 'file-target');
    await bindSubPath(volume, 'data/file', fileTarget);
    assert.equal(await readFile(fileTarget, 'utf8'), 'hello');
    unmount(fileTarget);
    await bindSubPath(volume, 'new/deep', join(directory, 'made'));
    assert.ok((await stat(join(volume, 'new/deep'))).isDirectory());
    unmount(join(directory, 'made'));
    await symlink('/etc', join(volume, 'out'));
    await assert.rejects(bindSubPath(volume, 'out', join(directory, 'no')), /not within volume path/);
    await assert.rejects(bindSubPath(volume, '../volume2', join(directory, 'no')), /relative path/);
    await symlink('data', join(volume, 'inside'));
    await bindSubPath(volume, 'inside', join(directory, 'in'));
    assert.equal(await readFile(join(directory, 'in/file'), 'utf8'), 'hello');
    unmount(join(directory, 'in'));
  } finally {
    unmount(target);
  }
});
