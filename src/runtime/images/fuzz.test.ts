import assert from 'node:assert/strict';
import { lstatSync, readdirSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readConfiguration, readManifest } from './image-documents.ts';
import { ImageError } from './image-error.ts';
import { formatImageReference, parseImageReference } from './image-reference.ts';
import { TarReader } from './tar-reader.ts';
import { type ArchiveEntry, fixChecksum, writeTar } from './testing/write-tar.ts';
import { unpackLayer } from './unpack-layer.ts';

/** The same numbers in every run (mulberry32), so that a failure can be seen again. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

async function* inPieces(bytes: Buffer, random: (below: number) => number): AsyncIterable<Buffer> {
  for (let at = 0; at < bytes.length; ) {
    const length = 1 + random(1500);
    yield bytes.subarray(at, at + length);
    at += length;
  }
}

const sample: ArchiveEntry[] = [
  { path: 'd/' },
  { path: 'd/file', content: 'x'.repeat(1300), attributes: { 'user.a': Buffer.from([0, 10, 61, 255]) }, uid: 7 },
  { path: `d/${'long/'.repeat(30)}name`, content: 'pax' },
  { path: `d/${'gnu/'.repeat(30)}name`, content: 'gnu', longNames: 'gnu' },
  { path: `d/${'split/'.repeat(20)}name`, content: 'prefix', longNames: 'prefix' },
  { path: 'd/hard', type: 'hardlink', linkPath: 'd/file' },
  { path: 'd/soft', linkPath: '../etc/passwd' },
  { path: 'd/null', type: 'character', major: 1, minor: 3 },
  { path: 'd/pipe', type: 'fifo' },
  { path: 'd/.wh.gone' },
  { path: 'e/.wh..wh..opq' },
  { path: 'pax_global_header', type: 'global', pax: { comment: 'x' } },
  { path: 'last', content: 'end' },
];

/** Reads all of an archive. */
async function readAll(bytes: Buffer, random: (below: number) => number) {
  const reader = new TarReader(inPieces(bytes, random));
  const found: { path: string; kind: string; content: string }[] = [];
  for (let entry = await reader.next(); entry; entry = await reader.next()) {
    const pieces: Buffer[] = [];
    if (found.length % 3 > 0) for await (const piece of reader.content()) pieces.push(piece);
    found.push({ path: entry.path, kind: entry.kind, content: Buffer.concat(pieces).toString() });
  }
  return found;
}

test('an archive reads the same however it is cut into pieces', async () => {
  const bytes = writeTar(sample);
  const whole = await readAll(bytes, () => 1499);
  assert.deepEqual(
    whole.map(({ path }) => path),
    sample.filter(({ type }) => type !== 'global').map(({ path }) => path),
  );
  assert.equal(whole[1]!.content, 'x'.repeat(1300));
  assert.equal(whole[4]!.content, 'prefix');
  for (let seed = 0; seed < 40; seed++) assert.deepEqual(await readAll(bytes, randomNumbers(seed)), whole);
});

test('a changed archive is read or refused with an ImageError, never anything else', async () => {
  const original = writeTar(sample);
  let refused = 0;
  for (let seed = 1; seed <= 1500; seed++) {
    const random = randomNumbers(seed);
    let bytes = Buffer.from(original);
    for (let change = 1 + random(4); change > 0; change--) {
      const at = random(bytes.length);
      if (random(8) === 0) bytes = Buffer.from(bytes.subarray(0, at));
      else bytes[at] = random(256);
      if (bytes.length === 0) break;
    }
    // Most changes would only break a checksum: mend them, so that what is behind it is met.
    if (random(4) > 0)
      for (let at = 0; at + 512 <= bytes.length; at += 512)
        if (bytes.toString('latin1', at + 257, at + 262) === 'ustar') fixChecksum(bytes.subarray(at, at + 512));
    await readAll(bytes, random).catch((error: unknown) => {
      refused++;
      assert.ok(error instanceof ImageError, `seed ${seed}: ${(error as Error).stack}`);
    });
  }
  assert.ok(refused > 100, `${refused} refused`);
});

test('random entries never reach outside of their directory', async () => {
  const root = await mkdtemp(join(tmpdir(), 'dh-fuzz-'));
  const names = ['a', 'b', 'c', '..', '.', '', 'out', '.wh.a', '.wh..wh..opq', '.wh...', '.wh.b'];
  const targets = ['..', '../..', '/', '../../guard', 'a', 'b/c', '/a', '.', '../out', root];
  const types = ['file', 'directory', 'symlink', 'hardlink', 'fifo', 'character', 'symlink'] as const;
  try {
    for (let seed = 1; seed <= 400; seed++) {
      const random = randomNumbers(seed);
      const entries = Array.from({ length: 3 + random(12) }, (): ArchiveEntry => {
        const parts = Array.from({ length: 1 + random(3) }, () => names[random(names.length)]!);
        const type = types[random(types.length)]!;
        const linkPath = targets[random(targets.length)]!;
        return { path: parts.join('/'), type, content: type === 'file' ? 'evil' : '', linkPath, major: 1, minor: 3 };
      });
      const jail = join(root, 'jail');
      const inner = join(jail, 'inner');
      await mkdir(inner, { recursive: true });
      await mkdir(join(root, 'guard'), { recursive: true });
      await unpackLayer(inPieces(writeTar(entries), random), inner, { maximumBytes: 1e6, maximumEntries: 100 }).catch(
        (error: unknown) => {
          // A hard link to what is not there and the like: the kernel's refusals are errors of their own.
          const { code } = error as { code?: string };
          assert.ok(
            error instanceof ImageError || ['ENOENT', 'EPERM', 'ELOOP', 'EEXIST', 'ENOTDIR'].includes(code ?? ''),
            `seed ${seed}: ${(error as Error).stack}`,
          );
        },
      );
      assert.deepEqual(readdirSync(root).sort(), ['guard', 'jail'], `seed ${seed}`);
      assert.deepEqual(readdirSync(jail), ['inner'], `seed ${seed}`);
      assert.deepEqual(readdirSync(join(root, 'guard')), [], `seed ${seed}`);
      assert.ok(lstatSync(inner).isDirectory());
      await rm(jail, { recursive: true });
    }
  } finally {
    await rm(root, { recursive: true, force: true });
  }
});

/** JSON values that somebody could put where another is expected. */
const oddities: unknown[] = [null, 0, -1, 1.5, '', 'x', '../../etc/passwd', [], {}, [null], true, [[]], { size: 'x' }];

/** A copy with one value, somewhere, replaced or taken away. */
function change(value: unknown, random: (below: number) => number): unknown {
  if (typeof value !== 'object' || value === null || random(4) === 0) return oddities[random(oddities.length)];
  const copy = structuredClone(value) as Record<string, unknown>;
  const keys = Object.keys(copy);
  if (keys.length === 0) return oddities[random(oddities.length)];
  const key = keys[random(keys.length)]!;
  if (random(6) === 0) delete copy[key];
  else copy[key] = change(copy[key], random);
  return copy;
}

test('changed manifests and configurations are read or refused with an ImageError', () => {
  const digest = `sha256:${'a'.repeat(64)}`;
  const descriptor = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest, size: 10 };
  const manifest = {
    schemaVersion: 2,
    mediaType: 'm',
    config: { ...descriptor, mediaType: 'application/vnd.oci.image.config.v1+json' },
    layers: [descriptor, descriptor],
  };
  const index = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [{ ...descriptor, platform: { os: 'linux', architecture: 'amd64', variant: 'v1' } }],
  };
  const configuration = { config: { Env: ['A=b'] }, rootfs: { type: 'layers', diff_ids: [digest, digest] } };
  for (let seed = 1; seed <= 6000; seed++) {
    const random = randomNumbers(seed);
    const body = Buffer.from(JSON.stringify(change([manifest, index, configuration][seed % 3], random)));
    try {
      if (seed % 3 === 2) {
        const read = readConfiguration(body, 2);
        assert.ok(read.rootfs.diff_ids.every((one) => /^[a-z0-9]+:[0-9a-f]+$/.test(one)));
        continue;
      }
      const read = readManifest(body, 'application/json', { architecture: 'amd64', variant: 'v3' });
      const descriptors = 'chosen' in read ? [read.chosen] : [read.manifest.config, ...read.manifest.layers];
      for (const one of descriptors) {
        assert.match(one.digest, /^[a-z0-9]+:[0-9a-f]+$/);
        assert.equal(typeof one.mediaType, 'string');
        assert.ok(Number.isSafeInteger(one.size) && one.size >= 0);
      }
    } catch (error) {
      assert.ok(error instanceof ImageError, `seed ${seed}: ${body} ${(error as Error).stack}`);
    }
  }
});

test('what parses as a reference is the same again when it is written out', () => {
  const alphabet = ['a', 'b1', 'A', '.', '..', '-', '_', '__', '/', '//', ':', '@', '5000', 'latest', 'sha256:', ' '];
  alphabet.push('docker.io', 'localhost', '[::1]', 'a'.repeat(64), 'é', '%', '\0', 'x/y', 'index.docker.io/');
  let good = 0;
  for (let seed = 1; seed <= 20_000; seed++) {
    const random = randomNumbers(seed);
    const text = Array.from({ length: 1 + random(7) }, () => alphabet[random(alphabet.length)]).join('');
    try {
      const full = formatImageReference(parseImageReference(text));
      assert.equal(formatImageReference(parseImageReference(full)), full, text);
      assert.doesNotMatch(full, /[\s\0%é]|\.\.\/|\/\//, text);
      good++;
    } catch (error) {
      assert.ok(error instanceof ImageError && error.code === 'INVALID_ARGUMENT', `${text}: ${(error as Error).stack}`);
    }
  }
  assert.ok(good > 1000, `${good} good ones`);
});
