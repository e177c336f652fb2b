import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { NetworkFile } from './network-file.ts';

test('notes are read again by the next run; a file that cannot be read counts as missing', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'dh-notes-'));
  const path = join(directory, 'network.json');
  const errors: unknown[] = [];
  const open = () => NetworkFile.open(path, (error) => errors.push(error));
  try {
    const file = await open();
    assert.deepEqual(file.notes, { version: 1, configured: '', told: '', positions: {} });
    for (let next = 2; next < 20; next++) file.note({ positions: { '10.0.0.0/24': next } });
    file.note({ told: '10.0.0.0/24' });
    await file.settled();
    assert.deepEqual((await open()).notes, file.notes);
    assert.equal(JSON.parse(await readFile(path, 'utf8')).positions['10.0.0.0/24'], 19);
    for (const text of ['', '{', '[]', 'null', '{"version":9,"told":"x"}', '{"version":1,"told":5}']) {
      await writeFile(path, text);
      assert.equal((await open()).notes.told, '', text);
    }
    assert.ok(errors.length > 0);
    await rm(directory, { recursive: true });
    errors.length = 0;
    const lost = await open();
    lost.note({ told: 'x' });
    await lost.settled();
    assert.equal(errors.length, 1, 'what cannot be written is told');
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
