import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readRecords } from './json-file.ts';

test('records are read; one that cannot be read is told and stays; a directory without one goes', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'dh-records-'));
  try {
    for (const id of ['whole', 'damaged', 'cut-off']) await mkdir(join(directory, id));
    await writeFile(join(directory, 'whole/record.json'), '{"a":1}');
    await writeFile(join(directory, 'damaged/record.json'), '{"a":');
    await writeFile(join(directory, 'cut-off/record.json.1.0.tmp'), '{"a":1}');
    await writeFile(join(directory, 'stray'), '');
    const broken: string[] = [];
    const records = await readRecords(directory, 'record.json', JSON.parse, (id) => broken.push(id));
    assert.deepEqual(records, [{ a: 1 }]);
    assert.deepEqual(broken.sort(), ['damaged', 'stray']);
    assert.deepEqual((await readdir(directory)).sort(), ['damaged', 'stray', 'whole']);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
