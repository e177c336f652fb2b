import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { arch, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { buildHolderProgram, holderSteps } from './holder-program.ts';

test('it is an executable of one segment, for both kinds of processors', () => {
  for (const [processor, machine] of [
    ['x64', 62],
    ['arm64', 183],
  ] as const) {
    const program = buildHolderProgram(processor);
    assert.equal(program.toString('latin1', 0, 4), '\x7fELF');
    assert.equal(program.readUInt16LE(18), machine);
    // The whole file is what is loaded.
    assert.equal(program.readBigUInt64LE(64 + 32), BigInt(program.length));
  }
  assert.throws(() => buildHolderProgram('mips'), /not supported on mips/);
});

test('without anybody at the other end it ends, and says at which step', async (t) => {
  if (!['x64', 'arm64'].includes(arch())) return t.skip('there is no program for this processor');
  const directory = mkdtempSync(join(tmpdir(), 'dh-holder-'));
  try {
    const path = join(directory, 'pause');
    writeFileSync(path, buildHolderProgram(), { mode: 0o755 });
    const ended = new Promise<{ code: unknown; stdout: string }>((resolve) => {
      const child = execFile(path, (error, stdout) => resolve({ code: error?.code, stdout }));
      child.stdin?.end('.');
    });
    const { code, stdout } = await ended;
    assert.equal(stdout, '.');
    assert.equal(holderSteps[Number(code) - 1]?.call, 'read');
  } finally {
    rmSync(directory, { recursive: true });
  }
});
