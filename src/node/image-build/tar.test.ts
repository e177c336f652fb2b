import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type TarEntry, tarHeader, writeTar } from './tar.ts';

const text = (header: Buffer, from: number, length: number) =>
  header.toString('latin1', from, from + length).replace(/\0.*$/s, '');

test('a header says what an entry is, and nothing of who wrote it', () => {
  const header = tarHeader({ path: 'etc/passwd', mode: 0o644, kind: 'bytes', content: Buffer.from('root') });
  assert.equal(text(header, 0, 100), 'etc/passwd');
  assert.equal(text(header, 100, 8), '0000644');
  assert.equal(text(header, 124, 12), '00000000004');
  assert.deepEqual(
    [text(header, 108, 8), text(header, 116, 8), text(header, 136, 12)],
    ['0000000', '0000000', '00000000000'],
  );
  const sum = header.reduce((all, byte, at) => all + (at >= 148 && at < 156 ? 0x20 : byte), 0);
  assert.equal(Number.parseInt(text(header, 148, 8), 8), sum);
});

test('long paths are cut at a slash; what does not fit is refused', () => {
  const directory = 'a'.repeat(90);
  const header = tarHeader({ path: `${directory}/${'b'.repeat(60)}`, mode: 0o755, kind: 'directory' });
  assert.equal(text(header, 345, 155), directory);
  assert.equal(text(header, 0, 100), `${'b'.repeat(60)}/`);
  assert.throws(() => tarHeader({ path: 'c'.repeat(101), mode: 0, kind: 'directory' }), /too long/);
  assert.throws(() => tarHeader({ path: 'l', mode: 0, kind: 'link', target: 'd'.repeat(101) }), /leads too far/);
});

test('a file is cut and patched on its way', async () => {
  const source = import.meta.filename;
  const entry: TarEntry = {
    ...{ path: 'x', mode: 0o644, kind: 'file', source, size: 10 },
    patches: [{ at: 8, bytes: Buffer.from('##') }],
  };
  const archive = Buffer.concat(await Array.fromAsync(writeTar([entry])));
  assert.equal(archive.length, 4 * 512);
  assert.equal(archive.toString('latin1', 512, 523), 'import a##\0');
});
