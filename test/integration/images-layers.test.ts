import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, readdirSync, readFileSync, statSync, utimesSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { ImageError } from '../../src/runtime/images/image-error.ts';
import { archiveRecord, unpackArchive } from '../../src/runtime/images/layer-job.ts';
import { restoreArchive } from '../../src/runtime/images/layer-record.ts';
import { type ArchiveEntry, fixChecksum, writeTar } from '../../src/runtime/images/testing/write-tar.ts';
import type { UnpackLimits } from '../../src/runtime/images/unpack-layer.ts';

const limits: UnpackLimits = { maximumBytes: 100_000_000, maximumEntries: 10_000 };
let directory: string;
let fs: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'dh-unpack-'));
  fs = join(directory, 'fs');
  await mkdir(fs);
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function* inPieces(bytes: Buffer): AsyncIterable<Buffer> {
  for (let at = 0; at < bytes.length; at += 700) yield bytes.subarray(at, at + 700);
}

const digest = (bytes: Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

async function unpack(archive: Buffer, most: Partial<UnpackLimits> = {}) {
  const input = { directory, diffId: digest(archive), packing: 'none' as const, limits: { ...limits, ...most } };
  return unpackArchive(input, inPieces(archive));
}

async function restore(): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of restoreArchive(join(directory, archiveRecord), fs)) parts.push(part);
  return Buffer.concat(parts);
}

const refused = (entries: ArchiveEntry[], code: string, text: RegExp, most: Partial<UnpackLimits> = {}) =>
  assert.rejects(unpack(writeTar(entries), most), (error: unknown) => {
    assert.ok(error instanceof ImageError, `${(error as Error).stack}`);
    assert.equal(error.code, code);
    assert.match(error.message, text);
    return true;
  });

const isOpaque = (path: string) =>
  execFileSync('python3', [
    '-c',
    'import os,sys;print("trusted.overlay.opaque" in os.listxattr(sys.argv[1]))',
    join(fs, path),
  ])
    .toString()
    .trim() === 'True';
const isWhiteout = (path: string) =>
  lstatSync(join(fs, path)).isCharacterDevice() && lstatSync(join(fs, path)).rdev === 0;

test('an archive comes back to the byte, whatever is in it', async () => {
  const entries: ArchiveEntry[] = [
    { path: './', mode: 0o700 },
    { path: 'pax_global_header', type: 'global', pax: { comment: 'x' } },
    { path: 'd/', mtime: 5 },
    { path: 'd/empty', content: '' },
    { path: 'd/odd', content: 'x'.repeat(1300), attributes: { 'user.a': Buffer.from([0, 10, 61, 255]) } },
    { path: `d/${'long/'.repeat(30)}name`, content: 'pax' },
    { path: `d/${'gnu/'.repeat(30)}name`, content: 'gnu', longNames: 'gnu' },
    { path: 'd/hard', type: 'hardlink', linkPath: 'd/odd' },
    { path: 'd/soft', linkPath: 'odd' },
    { path: 'd/null', type: 'character', major: 1, minor: 3 },
    { path: 'd/.wh.gone' },
    { path: 'd/.wh.filled', content: 'nobody should' },
    { path: 'e/.wh..wh..opq' },
    { path: '.wh..wh.plnk/x', content: 'of AUFS' },
    { path: 'to-d', linkPath: '/d' },
    { path: 'to-d/through', content: 'a link' },
    { path: 'd/block', content: Buffer.alloc(512 * 300, 7) },
  ];
  const archive = Buffer.concat([writeTar(entries), Buffer.alloc(9 * 1024), Buffer.from('rubbish at the end')]);
  const { archiveBytes } = await unpack(archive);
  assert.equal(archiveBytes, archive.length);
  assert.ok((await restore()).equals(archive));
  await writeFile(join(fs, 'd/odd'), 'changed');
  await assert.rejects(restore(), /no longer as it was/);
});

test('names and links are bytes, not text', async () => {
  const latin = Buffer.from('caf\xe9', 'latin1');
  const archive = writeTar([
    { path: 'plain/', mtime: 3 },
    { path: 'XXXX', content: 'latin' },
    { path: 'grüße', content: 'utf-8' },
    { path: 'link', linkPath: 'XXXX' },
    { path: 'new\nline', content: 'n' },
  ]);
  // The writer takes text: put the bytes in afterwards.
  for (let at = archive.indexOf('XXXX'); at >= 0; at = archive.indexOf('XXXX', at)) {
    latin.copy(archive, at);
    fixChecksum(archive.subarray(at - (at % 512), at - (at % 512) + 512));
  }
  await unpack(archive);
  const names = readdirSync(fs, { encoding: 'buffer' }).map((name) => name.toString('latin1'));
  assert.ok(names.includes('caf\xe9'), names.join(' '));
  assert.equal(readFileSync(join(fs, 'grüße'), 'utf8'), 'utf-8');
  assert.equal(readFileSync(Buffer.from(join(fs, 'caf\xe9'), 'latin1'), 'utf8'), 'latin');
  assert.equal(readFileSync(join(fs, 'link'), 'utf8'), 'latin');
  assert.ok((await restore()).equals(archive));
});

test('a whiteout hides what is below, never what its own layer has, in either order', async () => {
  await unpack(
    writeTar([
      { path: 'first', content: '1' },
      { path: '.wh.first' },
      { path: '.wh.second' },
      { path: 'second', content: '2' },
      { path: 'third/' },
      { path: 'third/in', content: '3' },
      { path: '.wh.third' },
      { path: '.wh.fourth' },
      { path: 'fourth/' },
      { path: '.wh.fifth' },
      { path: 'fifth/in', content: '5' },
      { path: '.wh.sixth' },
      { path: '.wh..wh.plnk/', mode: 0o700 },
      { path: '.wh..wh.plnk/1.2', content: 'a' },
      { path: '.wh..wh.aufs', content: 'a' },
    ]),
  );
  assert.equal(readFileSync(join(fs, 'first'), 'utf8'), '1');
  assert.equal(readFileSync(join(fs, 'second'), 'utf8'), '2');
  assert.deepEqual(readdirSync(join(fs, 'third')), ['in']);
  assert.ok(isOpaque('third') && isOpaque('fourth') && isOpaque('fifth'));
  assert.equal(readFileSync(join(fs, 'fifth/in'), 'utf8'), '5');
  assert.ok(isWhiteout('sixth'));
  assert.deepEqual(readdirSync(fs).sort(), ['fifth', 'first', 'fourth', 'second', 'sixth', 'third']);
});

test('later entries take the place of earlier ones, of whatever kind', async () => {
  const { implied } = await unpack(
    writeTar([
      { path: 'a', content: 'old' },
      { path: 'a', content: 'new' },
      { path: 'b/' },
      { path: 'b/in', content: 'x' },
      { path: 'b', content: 'file' },
      { path: 'c', linkPath: '/etc' },
      { path: 'c/' },
      { path: 'c/in', content: 'x' },
      { path: 'implied/in/file', content: 'x' },
      { path: 'implied', linkPath: 'c' },
      { path: 'd', type: 'hardlink', linkPath: 'a' },
      { path: 'd', type: 'hardlink', linkPath: 'd' },
    ]),
  );
  assert.equal(readFileSync(join(fs, 'a'), 'utf8'), 'new');
  assert.equal(readFileSync(join(fs, 'b'), 'utf8'), 'file');
  assert.ok(lstatSync(join(fs, 'c')).isDirectory() && lstatSync(join(fs, 'implied')).isSymbolicLink());
  assert.equal(statSync(join(fs, 'd')).nlink, 2);
  assert.deepEqual(implied, ['']);
});

test('a directory that a link has replaced does not get its time through the link', async () => {
  const outside = await mkdtemp(join(tmpdir(), 'dh-outside-'));
  try {
    await mkdir(join(outside, 'b'));
    utimesSync(join(outside, 'b'), 1000, 1000);
    await unpack(writeTar([{ path: 'a/' }, { path: 'a/b/', mtime: 77 }, { path: 'a', linkPath: outside }]));
    assert.equal(statSync(join(outside, 'b')).mtimeMs, 1_000_000);
  } finally {
    await rm(outside, { recursive: true });
  }
});

test('what would be outside, cannot be made or is too much is refused with its reason', async () => {
  const outside: ArchiveEntry[][] = [
    [{ path: '../evil', content: 'x' }],
    [{ path: 'a/../../evil', content: 'x' }],
    [{ path: 'h', type: 'hardlink', linkPath: '../../etc/passwd' }],
    [{ path: 'x', content: 'x', pax: { path: 'nul\0name' } }],
    [{ path: '.wh...', content: '' }],
  ];
  for (const entries of outside) await refused(entries, 'INVALID_ARGUMENT', /points outside of the image/);
  await refused(
    [
      { path: 'l', linkPath: 'l' },
      { path: 'l/x', content: '' },
    ],
    'INVALID_ARGUMENT',
    /points outside/,
  );
  await refused(
    [{ path: 'h', type: 'hardlink', linkPath: 'nothing' }],
    'INVALID_ARGUMENT',
    /"h" cannot be made: ENOENT/,
  );
  await refused(
    [
      { path: 'f', content: '' },
      { path: 'f/x', content: '' },
    ],
    'DATA_LOSS',
    /"f", which is no directory/,
  );
  await refused([{ path: `${'x'.repeat(300)}`, content: '' }], 'INVALID_ARGUMENT', /ENAMETOOLONG/);
  const many = Array.from({ length: 40 }, (_, at): ArchiveEntry => ({ path: `f${at}`, content: 'x' }));
  await refused(many, 'RESOURCE_EXHAUSTED', /more than 20 entries/, { maximumEntries: 20 });
  await refused([{ path: 'f', content: 'x'.repeat(5000) }], 'RESOURCE_EXHAUSTED', /over the limit/, {
    maximumBytes: 4000,
  });
  assert.ok(!existsSync(join(directory, 'evil')) && !existsSync(join(directory, '../evil')));
});

test('links inside lead inside only, absolute ones too', async () => {
  await unpack(
    writeTar([
      { path: 'real/' },
      { path: 'abs', linkPath: '/real' },
      { path: 'up', linkPath: '../../../../real' },
      { path: 'abs/one', content: '1' },
      { path: 'up/two', content: '2' },
    ]),
  );
  assert.deepEqual(readdirSync(join(fs, 'real')).sort(), ['one', 'two']);
});

test('what a layer takes is counted: hard links once, holes not, replaced files not', async () => {
  const { bytes, inodes } = await unpack(
    writeTar([
      { path: 'd/' },
      { path: 'd/f', content: 'x'.repeat(10_000) },
      { path: 'd/h', type: 'hardlink', linkPath: 'd/f' },
      { path: 'd/r', content: 'x'.repeat(10_000) },
      { path: 'd/r', content: 'x' },
      { path: '.wh.gone' },
    ]),
  );
  const [usedBytes, files] = [
    execFileSync('du', ['--block-size=1', '-s', fs]).toString(),
    execFileSync('du', ['--inodes', '-s', fs]).toString(),
  ].map((text) => Number.parseInt(text, 10));
  assert.equal(inodes, files);
  assert.equal(bytes, usedBytes);
});

test('sparse files keep their holes, in every form that GNU tar writes', async () => {
  const source = join(directory, 'source');
  await mkdir(source);
  const script = `import sys
with open(sys.argv[1], 'wb') as f:
    for i in range(40):
        f.seek(i * 262144 + 8192)
        f.write(bytes([i + 1]) * 4096)
    f.truncate(40 * 262144)
open(sys.argv[1] + '-empty', 'wb').truncate(1000000)`;
  execFileSync('python3', ['-c', script, join(source, 'holes')]);
  const original = readFileSync(join(source, 'holes'));
  for (const format of [['gnu'], ['pax', '0.0'], ['pax', '0.1'], ['pax', '1.0']]) {
    const [kind, version] = format;
    const argv = ['--sparse', `--format=${kind}`, ...(version ? [`--sparse-version=${version}`] : [])];
    const archive = execFileSync('tar', [...argv, '-cf', '-', '-C', source, '.'], { maxBuffer: 1 << 26 });
    assert.ok(archive.length < 1_000_000, format.join(' '));
    await rm(fs, { recursive: true });
    await rm(join(directory, archiveRecord), { force: true });
    await mkdir(fs);
    await unpack(archive);
    assert.ok(readFileSync(join(fs, 'holes')).equals(original), format.join(' '));
    assert.ok(lstatSync(join(fs, 'holes')).blocks * 512 < 1_000_000, format.join(' '));
    assert.equal(statSync(join(fs, 'holes-empty')).size, 1_000_000);
    assert.ok((await restore()).equals(archive), format.join(' '));
  }
  const bad: Record<string, string>[] = [
    { 'GNU.sparse.map': '0,4,2,4', 'GNU.sparse.size': '100' },
    { 'GNU.sparse.map': '0,9', 'GNU.sparse.size': '100' },
    { 'GNU.sparse.map': '90,4', 'GNU.sparse.size': '92' },
    { 'GNU.sparse.map': 'x', 'GNU.sparse.size': '92' },
    { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': '10' },
  ];
  for (const pax of bad) await refused([{ path: 'f', content: 'abcd', pax }], 'DATA_LOSS', /damaged map of its holes/);
});

test('a large owner, a late time and all bits of the mode arrive', async () => {
  await unpack(
    writeTar([
      { path: 'f', content: 'x', mode: 0o7755, pax: { uid: '4294967294', gid: '3000000000', mtime: '9999999999.25' } },
      { path: 'old', content: 'x', pax: { mtime: '-5' } },
    ]),
  );
  const info = lstatSync(join(fs, 'f'));
  assert.deepEqual([info.mode & 0o7777, info.uid, info.gid, info.mtimeMs], [0o7755, 4294967294, 3e9, 9999999999250]);
  assert.equal(lstatSync(join(fs, 'old')).mtimeMs, -5000);
});

test('records of a pax header that do not go on are refused, not read for ever', async () => {
  const rest = ['xyz', '0 path=b\n', '00 =\n', ' path=b\n', '-5 path=b\n', '5 a=b\n\n', '9999999 a=b\n'];
  for (const text of rest) {
    // The comment is a record; what follows it within the same header is not.
    const archive = writeTar([{ path: 'f', pax: { comment: 'x'.repeat(40) } }]);
    const at = archive.indexOf(' comment=');
    const end = archive.indexOf('\n', at) + 1;
    archive.write(text, end, 'latin1');
    archive.write(`${(end - 512 + text.length).toString(8).padStart(11, '0')}\0`, 124, 'latin1');
    fixChecksum(archive.subarray(0, 512));
    await assert.rejects(unpack(archive), /damaged pax header/, JSON.stringify(text));
    await rm(join(directory, archiveRecord), { force: true });
  }
});

test('what hides behind names in an archive is not opened: neither FIFOs nor devices', async () => {
  // The later FIFO stands where the file was.
  await unpack(
    writeTar([
      { path: 'f', content: 'x' },
      { path: 'f', type: 'fifo' },
    ]),
  );
  await assert.rejects(restore(), /no longer as it was: it is no file/);
});
