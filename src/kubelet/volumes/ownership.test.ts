import assert from 'node:assert/strict';
import { chmod, lstat, mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { pollUntil } from '../../async/index.ts';
import { launchProgram } from '../../host/exec/index.ts';
import { applyFsGroup } from './ownership.ts';

let directory: string;
let volume: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'dh-owner-'));
  volume = join(directory, 'volume');
  await mkdir(join(volume, 'deep'), { recursive: true });
  await writeFile(join(volume, 'deep/file'), 'x', { mode: 0o604 });
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const modeOf = async (path: string): Promise<string> => {
  const { mode, gid } = await stat(join(volume, path));
  return `${(mode & 0o7777).toString(8)} ${gid}`;
};

test('the group owns all of a volume, may read and write it, and directories hand it on', async () => {
  await symlink('/etc/passwd', join(volume, 'link'));
  const before = await stat('/etc/passwd');
  await applyFsGroup(volume, { gid: 7000, onRootMismatch: false });
  assert.equal(await modeOf('.'), '2775 7000');
  assert.equal(await modeOf('deep'), '2775 7000');
  assert.equal(await modeOf('deep/file'), '664 7000');
  assert.equal((await lstat(join(volume, 'link'))).gid, 7000, 'the link itself');
  const after = await stat('/etc/passwd');
  assert.deepEqual([after.gid, after.mode], [before.gid, before.mode]);
});

test('with OnRootMismatch a right root is enough, and a wrong one has all of it changed', async () => {
  await applyFsGroup(volume, { gid: 7000, onRootMismatch: true });
  assert.equal(await modeOf('deep/file'), '664 7000');
  await chmod(join(volume, 'deep/file'), 0o600);
  await applyFsGroup(volume, { gid: 7000, onRootMismatch: true });
  assert.equal(await modeOf('deep/file'), '600 7000');
  await chmod(volume, 0o755);
  await applyFsGroup(volume, { gid: 7000, onRootMismatch: true });
  assert.equal(await modeOf('deep/file'), '660 7000');
});

test('files and directories that become links meanwhile lead to nothing outside', async () => {
  const outside = join(directory, 'outside');
  await mkdir(outside);
  await writeFile(join(outside, 'secret'), 'x', { mode: 0o600 });
  await chmod(outside, 0o700);
  // Each change is one rename, so that there is always something to be found.
  const swap = `const fs = require('node:fs');
    process.chdir(${JSON.stringify(volume)});
    for (fs.mkdirSync('b'), fs.writeFileSync('b/secret', ''); ; ) {
      fs.writeFileSync('t', 'x'); fs.renameSync('t', 'a');
      fs.symlinkSync(${JSON.stringify(join(outside, 'secret'))}, 't'); fs.renameSync('t', 'a');
      fs.renameSync('b', 'c'); fs.symlinkSync(${JSON.stringify(outside)}, 'b'); fs.unlinkSync('b'); fs.renameSync('c', 'b');
    }`;
  const attacker = launchProgram([process.execPath, '-e', swap]);
  try {
    await pollUntil('the attack', () => stat(join(volume, 'b')).catch(() => undefined), { timeoutMs: 10_000 });
    for (let round = 0; round < 1500; round++) {
      // What vanishes while it is looked at is no failure of ours; anything else would be.
      await applyFsGroup(volume, { gid: 7000, onRootMismatch: false }).catch((error: Error) => {
        assert.match(error.message, /ENOENT|ENOTDIR/);
      });
    }
  } finally {
    attacker.kill('SIGKILL');
    await attacker.ended;
  }
  for (const [path, mode] of [
    ['secret', 0o600],
    ['.', 0o700],
  ] as const) {
    const info = await stat(join(outside, path));
    assert.deepEqual([info.gid, info.mode & 0o7777], [0, mode], path);
  }
});
