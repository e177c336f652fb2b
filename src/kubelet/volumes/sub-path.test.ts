import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pollUntil } from '../../async/index.ts';
import { launchProgram } from '../../host/exec/index.ts';
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
    await rm(join(volume, '..hidden'), { recursive: true });
    await writeFile(join(volume, '..hidden'), 'now a file');
    await bindSubPath(volume, '..hidden', target('2'));
    assert.equal(await readFile(target('2'), 'utf8'), 'now a file');
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

test('directories that become links while a subpath is opened lead to nothing outside', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'deckhand-subpath-'));
  const [volume, outside] = [join(directory, 'volume'), join(directory, 'outside')];
  await mkdir(join(outside, 'in'), { recursive: true });
  await mkdir(volume);
  // Each change is one rename or two calls, far faster than a subpath is opened.
  const swap = `const fs = require('node:fs');
    process.chdir(${JSON.stringify(volume)});
    for (fs.mkdirSync('way/in', { recursive: true }); ; ) {
      fs.renameSync('way', 'kept'); fs.symlinkSync(${JSON.stringify(outside)}, 'way');
      fs.unlinkSync('way'); fs.renameSync('kept', 'way');
    }`;
  const attacker = launchProgram([process.execPath, '-e', swap]);
  const refused = new Set<string>();
  let bound = 0;
  try {
    await pollUntil('the attack', () => stat(join(volume, 'way')).catch(() => undefined), { timeoutMs: 10_000 });
    // On a busy machine it may take long to find a moment between two changes.
    for (let round = 0; round < 100 || (bound === 0 && round < 5000); round++) {
      const target = join(directory, `target-${round}`);
      try {
        await bindSubPath(volume, 'way/in', target);
        const table = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').map((line) => line.split(' '));
        // What is shown is named from the root of its file system.
        const shown = table.find((fields) => fields[4] === target)?.[3] ?? '';
        assert.ok(shown.endsWith('/in') && !shown.includes('/outside/'), shown);
        bound++;
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error;
        refused.add((error as Error).message.replace(/"[^"]*"|\/\S+/g, ''));
      } finally {
        unmount(target);
      }
    }
  } finally {
    attacker.kill('SIGKILL');
    await attacker.ended;
  }
  const made = await readdir(outside);
  await rm(directory, { recursive: true, force: true });
  assert.ok(bound > 0, `never bound: ${[...refused].join('; ')}`);
  assert.deepEqual(made, ['in'], 'nothing was made outside');
});
