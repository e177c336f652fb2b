import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { envFileValue, readVolumeFile } from './env-file.ts';

describe('envFileValue', () => {
  it('reads quoted values, of several lines too, with comments around', () => {
    const text = "# first\n\n  A='1'  # one\nB='two\nlines $A'\nC= 'x'\nD=''\nE='last'";
    assert.deepEqual(
      ['A', 'B', 'C', 'D', 'E', 'F'].map((key) => envFileValue(text, key)),
      ['1', 'two\nlines $A', undefined, undefined, 'last', undefined],
    );
  });

  it('names the line that cannot be read', () => {
    const cases: [string, RegExp][] = [
      ["A='1'\nB", /^line 2: '='/],
      ["='1'", /^line 1: the name/],
      ["A ='1'", /^line 1: whitespace/],
      ['A=1', /^line 1: .*quotes/],
      ["A='1\n2", /^line 1: .*not closed/],
      ["A='1' 2", /^line 1: there is more/],
    ];
    for (const [text, message] of cases) assert.throws(() => envFileValue(text, 'Z'), { message }, text);
  });
});

describe('readVolumeFile', () => {
  it('reads regular files inside of the volume only', async () => {
    const base = await mkdtemp(join(tmpdir(), 'dh-env-file-'));
    try {
      const volume = join(base, 'volume');
      await mkdir(join(volume, 'sub'), { recursive: true });
      await writeFile(join(base, 'secret'), "KEY='host'");
      await writeFile(join(volume, 'sub', 'env'), "KEY='value'");
      await symlink('sub/env', join(volume, 'inside'));
      await symlink('../secret', join(volume, 'outside'));
      await symlink('/', join(volume, 'root'));
      assert.equal(await readVolumeFile(volume, 'sub/env'), "KEY='value'");
      assert.equal(await readVolumeFile(volume, 'inside'), "KEY='value'");
      for (const path of ['outside', 'root/etc/passwd', '../secret', 'sub', '.', 'none'])
        await assert.rejects(readVolumeFile(volume, path), path);
    } finally {
      await rm(base, { recursive: true });
    }
  });
});
