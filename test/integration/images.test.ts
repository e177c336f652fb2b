import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { FakeClock, pollUntil, systemClock } from '../../src/async/index.ts';
import { isMountPoint, unmount } from '../../src/host/mounts/index.ts';
import { createLogger } from '../../src/log/index.ts';
import { ImageError, type ImageStore, type ImageStoreOptions, openImageStore } from '../../src/runtime/images/index.ts';
import { openSnapshots, type Snapshots } from '../../src/runtime/snapshots/index.ts';
import {
  type ArchiveEntry,
  dockerArchiveFiles,
  layoutFiles,
  machine,
  makeImage,
  makeIndex,
  makeLayer,
  packFiles,
  writeFiles,
} from '../support/images.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';

let base: string;
let root: string;
let registry: TestRegistry;
let store: ImageStore;
let snapshots: Snapshots;

async function open(options: Partial<ImageStoreOptions> = {}): Promise<ImageStore> {
  snapshots = await openSnapshots({ root: join(base, 'snapshots'), images: () => store, clock: systemClock });
  store = await openImageStore({
    root,
    log: createLogger('test', () => {}),
    clock: systemClock,
    layersInUse: () => snapshots.layersInUse(),
    ...options,
  });
  return store;
}

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'dh-images-'));
  root = join(base, 'images');
  registry = await startRegistry();
  await open();
});
afterEach(async () => {
  await store.close();
  for (const key of await snapshots.list()) await snapshots.remove(key);
  await registry[Symbol.asyncDispose]();
  await rm(base, { recursive: true, force: true });
});

const rejects = (promise: Promise<unknown>, code: string, text: RegExp) =>
  assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof ImageError);
    assert.equal(error.code, code, error.message);
    assert.match(error.message, text);
    return true;
  });
const layersOnDisk = () => readdir(join(root, 'layers'));
const big = (name: string, bytes: number): ArchiveEntry => ({
  path: name,
  content: Buffer.from(Array.from({ length: bytes }, (_, at) => (at * 2654435761) >>> 13)),
});

test('the image for this machine is chosen from an index, in both families and all compressions', async () => {
  for (const family of ['oci', 'docker'] as const) {
    const layers = (['gzip', 'zstd', 'none'] as const).map((compression) =>
      makeLayer([{ path: `${family}-${compression}`, content: compression }], { compression, family }),
    );
    const right = makeImage(layers, { family });
    const wrong = makeImage(layers.slice(1), { family, architecture: 's390x' });
    const index = makeIndex(
      [
        { image: wrong, architecture: 's390x' },
        { image: wrong, architecture: machine, os: 'windows' },
        { image: right, architecture: machine },
      ],
      family,
    );
    const image = await store.pull(registry.push(`team/${family}`, 'v1', index));
    assert.equal(image.id, right.id);
    assert.deepEqual(image.repoDigests, [`${registry.host}/team/${family}@${index.digest}`]);
    const [top] = store.layerPaths(image.id);
    assert.equal(readFileSync(join(top!, `${family}-none`), 'utf8'), 'none');
    await rejects(
      store.pull(registry.push('foreign', family, makeIndex([{ image: wrong, architecture: 's390x' }], family))),
      'NOT_FOUND',
      /no match for platform in manifest/,
    );
  }
});

test('a name with tag and digest asks for the digest and claims no tag', async () => {
  const image = makeImage([makeLayer([{ path: 'a' }])]);
  registry.push('a', 'v1', image);
  const record = await store.pull(`${registry.host}/a:other@${image.digest}`);
  assert.deepEqual(record.repoTags, []);
  assert.deepEqual(record.repoDigests, [`${registry.host}/a@${image.digest}`]);
});

test('tokens that run out are renewed; a wrong password and a broken token server are told apart', async () => {
  const reference = registry.push('a', 'v1', makeImage([makeLayer([{ path: 'a' }]), makeLayer([{ path: 'b' }])]));
  registry.faults = { bearer: { username: 'me', password: 'secret', requestsPerToken: 1 } };
  await rejects(
    store.pull(reference),
    'UNAUTHENTICATED',
    /pull access denied, repository does not exist or may require/,
  );
  await rejects(store.pull(reference, { auth: { username: 'me', password: 'no' } }), 'UNAUTHENTICATED', /denied/);
  await store.pull(reference, { auth: { username: 'me', password: 'secret' } });
  await store.remove(reference);
  registry.faults = { bearer: { tokenStatus: 503 } };
  await rejects(store.pull(reference), 'UNAVAILABLE', /token.*503/);
});

test('blobs behind redirects come without the credentials being sent along', async () => {
  const image = makeImage([makeLayer([big('a', 300_000)])]);
  const reference = registry.push('a', 'v1', image);
  const elsewhere = await startRegistry();
  elsewhere.push('b', 'v1', image);
  try {
    const redirect = { hops: 3, origin: `http://${elsewhere.host}` };
    registry.faults = { redirect, basic: { username: 'me', password: 'x' } };
    await store.pull(reference, { auth: { username: 'me', password: 'x' } });
    assert.ok(elsewhere.requests.length > 0 && elsewhere.requests.every(({ headers }) => !headers.authorization));
    await store.remove(reference);
    registry.faults = { redirect: { hops: 30 } };
    await rejects(store.pull(reference), 'UNAVAILABLE', /stopped after 10 redirects/);
  } finally {
    await elsewhere[Symbol.asyncDispose]();
  }
});

test('refusals for a while are waited out; lasting ones end the pull', async () => {
  const reference = registry.push('a', 'v1', makeImage([makeLayer([{ path: 'a' }])]));
  for (const code of [429, 500, 503]) {
    registry.faults = { status: { code, times: 2 } };
    await store.pull(reference);
    await store.remove(reference);
  }
  registry.faults = { reset: { times: 2 } };
  await store.pull(reference);
  await store.remove(reference);
  registry.faults = { status: { code: 500 } };
  await rejects(store.pull(reference), 'UNAVAILABLE', /unexpected status 500/);
  assert.deepEqual(await layersOnDisk(), []);
});

test('a broken or silent connection is taken up where it ended, with ranges and without', async () => {
  await open({ silenceMs: 200 });
  const layer = makeLayer([big('a', 400_000)], { compression: 'none' });
  const reference = registry.push('a', 'v1', makeImage([layer]));
  for (const noRanges of [false, true]) {
    for (const fault of ['cut', 'stall'] as const) {
      registry.faults = { [fault]: { afterBytes: 150_000, times: 2 }, noRanges };
      const image = await store.pull(reference);
      assert.equal((await stat(join(store.layerPaths(image.id)[0]!, 'a'))).size, 400_000);
      await store.remove(reference);
    }
  }
  registry.faults = { cut: { afterBytes: 0 } };
  await rejects(store.pull(reference), 'UNAVAILABLE', /failed to do request/);
  assert.deepEqual(await layersOnDisk(), []);
});

test('one bad layer ends the pull at once: the others stop, nothing stays, the store lives on', async () => {
  const bad = makeLayer([{ path: 'bad' }]);
  const slow = [big('x', 2_000_000), big('y', 2_500_000)].map((entry) => makeLayer([entry], { compression: 'none' }));
  const reference = registry.push('a', 'v1', makeImage([slow[0]!, bad, slow[1]!]));
  registry.faults = { corrupt: { path: new RegExp(bad.digest) }, slowMs: 50 };
  await rejects(store.pull(reference), 'DATA_LOSS', /unexpected digest|incorrect|archive/).catch((error) => {
    // A changed byte may hit the gzip frame before the digest is known.
    assert.match(String(error), /UNKNOWN|DATA_LOSS/);
  });
  assert.deepEqual(await layersOnDisk(), []);
  const asked = registry.requests.length;
  registry.faults = {};
  await store.pull(reference);
  assert.ok(registry.requests.length > asked);
  registry.faults = { corrupt: { path: /manifests/ } };
  await rejects(store.pull(reference), 'DATA_LOSS', /unexpected digest/);
});

test('a cancelled pull leaves nothing; one that others wait for goes on', async () => {
  const layer = makeLayer([big('x', 2_000_000)], { compression: 'none' });
  const reference = registry.push('a', 'v1', makeImage([layer]));
  registry.faults = { slowMs: 10 };
  const impatient = new AbortController();
  const both = [store.pull(reference, { signal: impatient.signal }), store.pull(reference)];
  await pollUntil('the layer is asked for', () => registry.fetches(layer.digest) > 0, { timeoutMs: 5000 });
  impatient.abort(new Error('enough'));
  await assert.rejects(both[0]!, /enough/);
  await both[1];
  assert.equal(registry.fetches(layer.digest), 1);
  await store.remove(reference);
  const second = new AbortController();
  const pull = store.pull(reference, { signal: second.signal });
  await pollUntil('the layer is asked for', () => registry.fetches(layer.digest) > 1, { timeoutMs: 5000 });
  second.abort(new Error('enough'));
  await assert.rejects(pull, /enough/);
  await pollUntil('nothing is left', async () => (await layersOnDisk()).length === 0, { timeoutMs: 5000 });
});

test('a full disk ends the pull, leaves nothing and is over when there is room again', async () => {
  await mkdir(root, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', root]);
  try {
    await open();
    const small = registry.push('small', 'v1', makeImage([makeLayer([{ path: 'a' }])]));
    const large = registry.push('large', 'v1', makeImage([makeLayer([big('x', 2_000_000)])]));
    await rejects(store.pull(large), 'RESOURCE_EXHAUSTED', /no space left on device/);
    assert.deepEqual(await layersOnDisk(), []);
    await store.pull(small);
    await store.close();
    const before = readFileSync(join(root, 'images.json'), 'utf8');
    await writeFile(join(root, 'filler'), Buffer.alloc(2_000_000)).catch(() => {});
    const another = registry.push('other', 'v1', makeImage([makeLayer([{ path: 'a' }])]));
    await rejects(store.pull(another), 'RESOURCE_EXHAUSTED', /no space left/);
    assert.equal(readFileSync(join(root, 'images.json'), 'utf8'), before);
    assert.deepEqual(
      store.list().map(({ repoTags }) => repoTags),
      [[small]],
    );
    await rm(join(root, 'filler'));
    await store.pull(another);
    await store.close();
  } finally {
    unmount(root);
  }
});

test('limits on what an image may unpack', async () => {
  await open({ maximumLayerBytes: 1_000_000 });
  const bomb = makeLayer([{ path: 'zeros', content: Buffer.alloc(50_000_000) }]);
  await rejects(store.pull(registry.push('bomb', 'v1', makeImage([bomb]))), 'RESOURCE_EXHAUSTED', /over the limit/);
  const tail = makeLayer(Buffer.concat([Buffer.alloc(1024), Buffer.alloc(50_000_000)]));
  await rejects(store.pull(registry.push('bomb', 'v2', makeImage([tail]))), 'RESOURCE_EXHAUSTED', /over the limit/);
  assert.deepEqual(await layersOnDisk(), []);
});

test('owners, modes, times, attributes, devices and links come as the layer says', async () => {
  const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');
  const image = await store.pull(
    registry.push(
      'meta',
      'v1',
      makeImage([
        makeLayer([
          { path: 'd/', mode: 0o1777, uid: 3, gid: 4, mtime: 1_234_567_890 },
          { path: 'd/setuid', mode: 0o4755, uid: 5, gid: 6, content: 'x', mtime: 1_000_000_001 },
          { path: 'd/cap', mode: 0o755, content: 'x', attributes: { 'security.capability': capability } },
          { path: 'd/null', type: 'character', major: 1, minor: 3, mode: 0o666 },
          { path: 'd/big', type: 'block', major: 259, minor: 70_000, mode: 0o600 },
          { path: 'd/pipe', type: 'fifo', mode: 0o622 },
          { path: 'd/link', linkPath: '/nowhere', uid: 9 },
          { path: 'd/owner', content: '', pax: { uid: '3000000000', mtime: '1600000000.5' } },
        ]),
      ]),
    ),
  );
  const fs = store.layerPaths(image.id)[0]!;
  const info = (name: string) => lstatSync(join(fs, name));
  assert.deepEqual([info('d').mode & 0o7777, info('d').uid, info('d').gid], [0o1777, 3, 4]);
  assert.equal(info('d').mtimeMs, 1_234_567_890_000);
  assert.deepEqual([info('d/setuid').mode & 0o7777, info('d/setuid').uid], [0o4755, 5]);
  assert.equal(info('d/setuid').mtimeMs, 1_000_000_001_000);
  assert.deepEqual([info('d/null').isCharacterDevice(), info('d/null').rdev], [true, (1 << 8) | 3]);
  const minor = execFileSync('stat', ['-c', '%t %T', join(fs, 'd/big')], { encoding: 'utf8' });
  assert.equal(minor.trim(), `${(259).toString(16)} ${(70_000).toString(16)}`);
  assert.ok(info('d/pipe').isFIFO());
  assert.equal(info('d/link').uid, 9);
  assert.deepEqual([info('d/owner').uid, info('d/owner').mtimeMs], [3_000_000_000, 1_600_000_000_500]);
  const dump = execFileSync('python3', [
    '-c',
    'import os,sys;print(os.getxattr(sys.argv[1],"security.capability").hex())',
    join(fs, 'd/cap'),
  ]);
  assert.equal(dump.toString().trim(), capability.toString('hex'));
});

test('a directory that a layer only implies keeps what the layer below says of it', async () => {
  const lower = makeLayer([
    { path: './', mode: 0o711, uid: 8 },
    { path: 'tmp/', mode: 0o1777, uid: 7 },
    { path: 'tmp/old', content: 'o' },
  ]);
  const upper = makeLayer([{ path: 'tmp/new', content: 'n' }]);
  const image = await store.pull(registry.push('implied', 'v1', makeImage([lower, upper])));
  for (const rootfs of [await snapshots.prepare(image.id, 'c1'), await snapshots.mountImage(image.id, 'i1')]) {
    assert.deepEqual((await readdir(join(rootfs, 'tmp'))).sort(), ['new', 'old']);
    const info = lstatSync(join(rootfs, 'tmp'));
    assert.deepEqual([info.mode & 0o7777, info.uid], [0o1777, 7]);
    assert.deepEqual([lstatSync(rootfs).mode & 0o7777, lstatSync(rootfs).uid], [0o711, 8]);
  }
});

test('archives: layouts and docker-archives, packed or not; hostile and damaged ones are refused', async () => {
  const image = makeImage([
    makeLayer([{ path: 'a', content: '1' }]),
    makeLayer([{ path: 'b' }], { compression: 'zstd' }),
  ]);
  const layout = layoutFiles([{ image, name: 'demo/app:v1' }]);
  const file = async (name: string, bytes: Buffer) => {
    await writeFile(join(base, name), bytes);
    return join(base, name);
  };
  await writeFiles(join(base, 'layout'), layout);
  const sources = [
    join(base, 'layout'),
    await file('layout.tar', packFiles(layout)),
    await file('layout.tar.gz', gzipSync(packFiles(layout))),
    await file('saved.tar', packFiles(dockerArchiveFiles([{ image, names: ['demo/app:v1', 'demo/app:v2'] }]))),
  ];
  for (const source of sources) {
    const [added] = await store.importArchive(source);
    assert.equal(added!.id, image.id, source);
    assert.ok(added!.repoTags.includes('docker.io/demo/app:v1'), source);
    assert.equal(readFileSync(join(store.layerPaths(image.id)[1]!, 'a'), 'utf8'), '1');
    await store.remove(image.id);
    assert.deepEqual(await layersOnDisk(), []);
  }
  const [named] = await store.importArchive(sources[0]!, { name: 'my/name:x' });
  assert.deepEqual(named!.repoTags, ['docker.io/my/name:x']);
  await store.remove(image.id);
  const two = [image, makeImage([makeLayer([{ path: 'c' }])])].map((one, at) => ({
    image: one,
    names: [`demo/n:${at}`],
  }));
  const several = await file('several.tar', packFiles(dockerArchiveFiles(two)));
  await rejects(store.importArchive(several, { name: 'x' }), 'INVALID_ARGUMENT', /several images/);
  assert.deepEqual(
    (await store.importArchive(several)).map(({ repoTags }) => repoTags.at(-1)),
    ['docker.io/demo/n:0', 'docker.io/demo/n:1'],
  );
  for (const { image: one } of two) await store.remove(one.id);
  const damaged = new Map(layout).set(`blobs/sha256/${image.digest.slice(7)}`, Buffer.from('{}'));
  await rejects(store.importArchive(await file('damaged.tar', packFiles(damaged))), 'DATA_LOSS', /unexpected digest/);
  await rejects(store.importArchive(await file('text', Buffer.from('hello'))), 'DATA_LOSS', /archive/);
  await rejects(store.importArchive(join(base, 'missing')), 'NOT_FOUND', /cannot read/);
  await mkdir(join(base, 'evil'));
  await symlink('/etc/passwd', join(base, 'evil/config'));
  await writeFile(join(base, 'evil/manifest.json'), JSON.stringify([{ Config: 'config', Layers: [], RepoTags: null }]));
  await rejects(store.importArchive(join(base, 'evil')), 'INVALID_ARGUMENT', /outside of it/);
  assert.deepEqual((await readdir(root)).sort(), ['configurations', 'images.json', 'layers']);
});

test('after a crash: whole images stay, layers that no image names go, what is mounted is kept', async () => {
  const layers = ['a', 'b', 'c'].map((path) => makeLayer([{ path }]));
  const kept = await store.pull(registry.push('kept', 'v1', makeImage([layers[0]!])));
  const used = await store.pull(registry.push('used', 'v1', makeImage([layers[1]!])));
  const before = JSON.parse(readFileSync(join(root, 'images.json'), 'utf8'));
  await store.pull(registry.push('lost', 'v1', makeImage([layers[2]!])));
  const rootfs = await snapshots.prepare(used.id, 'c1');
  // The index as it was before the last pull, one image removed while its container runs, and half a layer.
  await store.close();
  const images = before.images.filter(({ id }: { id: string }) => id === kept.id);
  await writeFile(join(root, 'images.json'), JSON.stringify({ version: before.version, images }));
  await mkdir(join(root, 'layers/.new-0123/fs'), { recursive: true });
  await mkdir(join(root, '.import-1'));
  await open();
  assert.deepEqual(
    store.list().map(({ id }) => id),
    [kept.id],
  );
  await store.close();
  assert.equal((await layersOnDisk()).length, 2);
  assert.deepEqual((await readdir(root)).sort(), ['configurations', 'images.json', 'layers']);
  assert.deepEqual(await readdir(rootfs), ['b']);
  await snapshots.remove('c1');
  assert.ok(!isMountPoint(rootfs));
  await store.collect();
  assert.equal((await layersOnDisk()).length, 1);
});

test('an image of 127 layers and one of none can be mounted', async () => {
  const layers = Array.from({ length: 127 }, (_, at) => makeLayer([{ path: `f${at}` }], { compression: 'none' }));
  const many = await store.pull(registry.push('many', 'v1', makeImage(layers)));
  assert.equal((await readdir(await snapshots.prepare(many.id, 'many'))).length, 127);
  assert.equal((await readdir(await snapshots.mountImage(many.id, 'many-volume'))).length, 127);
  const none = await store.pull(registry.push('none', 'v1', makeImage([])));
  const rootfs = await snapshots.prepare(none.id, 'none');
  await writeFile(join(rootfs, 'x'), 'x');
  assert.deepEqual(await readdir(await snapshots.mountImage(none.id, 'none-volume')), []);
  await assert.rejects(snapshots.prepare(`sha256:${'0'.repeat(64)}`, 'unknown'), /not found/);
  assert.ok(!(await snapshots.list()).includes('unknown'));
});

test('layers are kept once: what the store takes is what is unpacked, and little more', async () => {
  const random = (seed: number) => Buffer.from(Array.from({ length: 200_000 }, (_, at) => (at * seed) >>> 9));
  const entries = (name: string): ArchiveEntry[] =>
    Array.from({ length: 40 }, (_, at) => ({ path: `${name}/${at}`, content: random(at * 7919 + 31) }));
  const base = makeLayer(entries('base'));
  const image = await store.pull(registry.push('a', 'v1', makeImage([base, makeLayer(entries('one'))])));
  await store.pull(registry.push('b', 'v1', makeImage([base, makeLayer(entries('two'))])));
  await store.close();
  const du = (...paths: string[]) =>
    Number.parseInt(
      execFileSync('du', ['--block-size=1', '-sc', ...paths], { encoding: 'utf8' })
        .split('\n')
        .at(-2)!,
      10,
    );
  const layers = (await layersOnDisk()).map((name) => join(root, 'layers', name, 'fs'));
  assert.equal(layers.length, 3);
  const unpacked = du(...layers);
  assert.ok(du(root) <= unpacked * 1.02, `${du(root)} bytes for ${unpacked}`);
  // What is told is what is there; each layer counts once.
  const { usedBytes, inodesUsed } = await store.fsInfo();
  assert.equal(usedBytes, unpacked);
  assert.equal(
    inodesUsed,
    Number.parseInt(
      execFileSync('du', ['--inodes', '-sc', ...layers], { encoding: 'utf8' })
        .split('\n')
        .at(-2)!,
      10,
    ),
  );
  assert.equal(store.layerUsage(image.id).length, 2);
});

test('subdirectories of the layers are spread over the disk, where that is ext4', async (t) => {
  await store.pull(registry.push('a', 'v1', makeImage([makeLayer([{ path: 'a' }])])));
  const kind = execFileSync('stat', ['-f', '-c', '%T', root], { encoding: 'utf8' }).trim();
  if (kind !== 'ext2/ext3') return t.skip(`the file system is ${kind}, which does not need it`);
  assert.match(execFileSync('lsattr', ['-d', join(root, 'layers')], { encoding: 'utf8' }), /^\S*T/);
});

test('a root is mounted again with its changes in the same boot, and begun anew after a crash of the machine', async (t) => {
  const image = await store.pull(registry.push('a', 'v1', makeImage([makeLayer([{ path: 'a', content: 'image' }])])));
  const rootfs = await snapshots.prepare(image.id, 'c1');
  if (!existsSync(join(base, 'snapshots/c1/work/work/incompat'))) return t.skip('this kernel has no volatile overlays');
  await writeFile(join(rootfs, 'a'), 'changed');
  unmount(rootfs);
  assert.equal(await snapshots.prepare(image.id, 'c1'), rootfs);
  assert.equal(readFileSync(join(rootfs, 'a'), 'utf8'), 'changed');
  unmount(rootfs);
  const file = join(base, 'snapshots/c1/snapshot.json');
  await writeFile(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), boot: 'another' }));
  await snapshots.prepare(image.id, 'c1');
  assert.equal(readFileSync(join(rootfs, 'a'), 'utf8'), 'image');
  assert.deepEqual([...(await snapshots.imagesInUse())], [image.id]);
});

test('what a container has written is told at once as it was last, and measured again beside that', async () => {
  const image = await store.pull(registry.push('a', 'v1', makeImage([makeLayer([{ path: 'a' }])])));
  const clock = new FakeClock();
  const measuring = await openSnapshots({ root: join(base, 'snapshots'), images: () => store, clock });
  const rootfs = await measuring.prepare(image.id, 'c1');
  const first = await measuring.usage('c1');
  await writeFile(join(rootfs, 'big'), Buffer.alloc(100_000));
  assert.deepEqual(await measuring.usage('c1'), first);
  await clock.advance(60_000);
  assert.equal((await measuring.usage('c1')).bytes, first.bytes, 'nobody waits for it');
  await pollUntil('a new measure', async () => (await measuring.usage('c1')).bytes >= first.bytes + 100_000n, {
    timeoutMs: 5000,
  });
  await measuring.remove('c1');
});
