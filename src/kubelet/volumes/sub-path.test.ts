import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { mountsUnder, unmount } from '../../host/mounts/index.ts';
import { writeAtomically } from './atomic-writer.ts';
import { bindSubPath } from './sub-path.ts';

test('subpaths are bound: files behind the links of a written volume, directories, what is not there yet', async () => {
  const root = await mkdtemp(join(tmpdir(), 'deckhand-subpath-'));
  const volume = join(root, 'volume');
  const target = (name: string) => join(root, 'targets', name);
  try {
    await mkdir(volume);
    await writeAtomically(volume, new Map([['a.txt', { data: Buffer.from('one'), mode: 0o644 }]]));
    assert.equal(await bindSubPath(volume, 'a.txt', target('0')), target('0'));
    assert.equal(await readFile(target('0'), 'utf8'), 'one');
    await bindSubPath(volume, 'new/deep', target('1'));
    await writeFile(join(volume, 'new/deep/file'), 'two');
    assert.equal(await readFile(join(target('1'), 'file'), 'utf8'), 'two');
    await writeAtomically(volume, new Map([['a.txt', { data: Buffer.from('three'), mode: 0o644 }]]));
    assert.equal(await readFile(target('0'), 'utf8'), 'one', 'a running container keeps what it has');
    await bindSubPath(volume, 'a.txt', target('0'));
    assert.equal(await readFile(target('0'), 'utf8'), 'three', 'the next start has the new content');
    await bindSubPath(volume, 'new/deep', target('1'));
    assert.equal((await mountsUnder(target('1'))).length, 1, 'a second call binds nothing more');
    await bindSubPath(volume, '..hidden', target('2'));
  } finally {
    for (const path of await mountsUnder(root)) unmount(path);
    await rm(root, { recursive: true, force: true });
  }
});

test('subpaths stay in their volume', async () => {
  const root = await mkdtemp(join(tmpdir(), 'deckhand-subpath-'));
  const volume = join(root, 'volume');
  try {
    await mkdir(volume);
    await symlink('/etc', join(volume, 'out'));
    await symlink('../secret', join(volume, 'up'));
    await mkdir(join(root, 'secret'));
    for (const bad of ['out', 'out/passwd', 'up', 'up/x', '../secret', '/etc', 'a/../../secret'])
      await assert.rejects(bindSubPath(volume, bad, join(root, 'target')), /not within volume path|relative path/, bad);
    assert.deepEqual(await mountsUnder(root), []);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
});
