import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { test } from 'node:test';
import { readElf } from './elf.ts';

test('an ELF file says what it needs and how much of it is loaded', async () => {
  const { interpreter, needed, loadedBytes } = await readElf(process.execPath);
  assert.match(interpreter ?? '', /^\/lib.*\/ld-.*\.so/);
  assert.ok(needed.includes('libc.so.6') && needed.every((name) => /^lib.*\.so|^ld-/.test(name)), needed.join());
  assert.ok(loadedBytes > 1e6 && loadedBytes <= statSync(process.execPath).size);
});

test('what is no program is refused by name', async () => {
  await assert.rejects(readElf(import.meta.filename), { code: 'BAD_PROGRAM', subject: import.meta.filename });
  await assert.rejects(readElf('/nowhere'), /\/nowhere: cannot be read \(ENOENT\)/);
});
