import assert from 'node:assert/strict';
import { existsSync, lstatSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { systemClock } from '../../async/index.ts';
import { createLogger } from '../../log/index.ts';
import { createHttpServer, type IncomingMessage, type ServerResponse } from '../../wire/http/index.ts';
import { openSnapshots } from '../snapshots/index.ts';
import { sha256 } from './digest.ts';
import { type ImageError, type ImageStore, openImageStore } from './index.ts';

/** A tar archive of files (content), directories (name ends with a slash), links and whiteouts. */
function tar(files: Record<string, string | { link: string; hard?: boolean }>): Buffer {
  const parts: Buffer[] = [];
  for (const [path, content] of Object.entries(files)) {
    const body = typeof content === 'string' ? Buffer.from(content) : Buffer.alloc(0);
    const header = Buffer.alloc(512);
    const octal = (value: number, at: number, length: number) =>
      header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
    header.write(path, 0, 100, 'latin1');
    octal(path.endsWith('/') ? 0o755 : 0o644, 100, 8);
    octal(0, 108, 8);
    octal(0, 116, 8);
    octal(body.length, 124, 12);
    octal(1_000_000, 136, 12);
    header.write(
      typeof content === 'object' ? (content.hard ? '1' : '2') : path.endsWith('/') ? '5' : '0',
      156,
      'latin1',
    );
    if (typeof content === 'object') header.write(content.link, 157, 100, 'latin1');
    header.write('ustar\0' + '00', 257, 'latin1');
    header.fill(0x20, 148, 156);
    header.write(
      `${header
        .reduce((sum, byte) => sum + byte, 0)
        .toString(8)
        .padStart(6, '0')}\0 `,
      148,
      'latin1',
    );
    parts.push(header, body, Buffer.alloc((512 - (body.length % 512)) % 512));
  }
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

interface Layer {
  archive: Buffer;
  blob: Buffer;
  mediaType: string;
}
const gzipLayer = (files: Parameters<typeof tar>[0]): Layer => {
  const archive = tar(files);
  return { archive, blob: gzipSync(archive), mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip' };
};
const zstdLayer = (files: Parameters<typeof tar>[0]): Layer => {
  const archive = tar(files);
  return { archive, blob: zstdCompressSync(archive), mediaType: 'application/vnd.oci.image.layer.v1.tar+zstd' };
};

let root: string;
let store: ImageStore;
const documents = new Map<string, Buffer>();
let intercept: ((request: IncomingMessage, response: ServerResponse, body: Buffer | undefined) => boolean) | undefined;
let fetched: string[] = [];
const server = createHttpServer({
  handler: (request, response) => {
    const body = documents.get(request.url!);
    if (intercept?.(request, response, body)) return;
    if (!body) return void response.writeHead(404).end('{}');
    fetched.push(request.url!);
    const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.writeHead(from > 0 ? 206 : 200, { 'content-length': body.length - from }).end(body.subarray(from));
  },
});
let host: string;

/** Puts an image into the registry; gives its reference. */
function push(repository: string, tag: string, layers: Layer[]): string {
  const configuration = Buffer.from(
    JSON.stringify({
      config: { Cmd: ['/bin/sh'] },
      rootfs: { type: 'layers', diff_ids: layers.map(({ archive }) => sha256(archive)) },
    }),
  );
  const descriptors = layers.map(({ blob, mediaType }) => ({ mediaType, digest: sha256(blob), size: blob.length }));
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      config: {
        mediaType: 'application/vnd.oci.image.config.v1+json',
        digest: sha256(configuration),
        size: configuration.length,
      },
      layers: descriptors,
    }),
  );
  documents.set(`/v2/${repository}/manifests/${tag}`, manifest);
  documents.set(`/v2/${repository}/manifests/${sha256(manifest)}`, manifest);
  for (const body of [configuration, ...layers.map(({ blob }) => blob)])
    documents.set(`/v2/${repository}/blobs/${sha256(body)}`, body);
  return `${host}/${repository}:${tag}`;
}

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'dh-images-'));
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  host = `127.0.0.1:${port}`;
  fetched = [];
  store = await openImageStore({ root, log: createLogger('test', () => {}), clock: systemClock });
});
afterEach(async () => {
  await store.close();
  intercept = undefined;
  documents.clear();
  await server.close();
  await rm(root, { recursive: true, force: true });
});

const rejects = (promise: Promise<unknown>, code: string, text: RegExp) =>
  assert.rejects(promise, (error: ImageError) => {
    assert.equal(error.code, code, error.message);
    assert.match(error.message, text);
    return true;
  });

test('an image of gzip and zstd layers is pulled, shown, mounted, shared and removed', async () => {
  const base = gzipLayer({ 'bin/': '', 'bin/a': 'A', 'etc/passwd': 'root', 'dir/': '', 'dir/old': 'x' });
  const top = zstdLayer({
    'bin/.wh.a': '',
    'bin/b': 'B',
    'dir/.wh..wh..opq': '',
    'dir/new': 'y',
    'bin/c': { link: 'bin/b', hard: true },
    link: { link: '/etc/passwd' },
  });
  const reference = push('team/app', 'v1', [base, top]);
  const image = await store.pull(reference);
  assert.deepEqual(image.repoTags, [reference]);
  assert.equal(store.status(image.id)?.id, image.id);
  assert.equal(store.status(image.id.slice(7, 20))?.id, image.id);
  assert.equal(store.status(image.repoDigests[0]!)?.id, image.id);
  const snapshots = await openSnapshots({ root: join(root, 'snapshots'), images: () => store, clock: systemClock });
  const rootfs = await snapshots.prepare(image.id, 'c1');
  try {
    assert.deepEqual(await readdir(join(rootfs, 'bin')), ['b', 'c']);
    assert.deepEqual(await readdir(join(rootfs, 'dir')), ['new']);
    assert.equal(lstatSync(join(rootfs, 'bin/b')).nlink, 2);
    await writeFile(join(rootfs, 'written'), 'z'.repeat(10_000));
    assert.equal(await snapshots.prepare(image.id, 'c1'), rootfs);
    assert.ok((await snapshots.usage('c1')).bytes >= 10_000n);
    const readOnly = await snapshots.mountImage(image.id, 'image-1');
    await assert.rejects(writeFile(join(readOnly, 'no'), ''), /EROFS/);
  } finally {
    await snapshots.remove('c1');
    await snapshots.remove('image-1');
  }
  fetched = [];
  await store.pull(push('team/app', 'v2', [base, gzipLayer({ z: 'Z' })]));
  assert.ok(!fetched.some((url) => url.endsWith(sha256(base.blob))), 'a layer that is here is not fetched again');
  await store.remove(reference);
  assert.equal(store.list().length, 1);
  assert.equal((await readdir(join(root, 'layers'))).length, 2);
  const again = await openImageStore({ root, log: createLogger('test', () => {}), clock: systemClock });
  assert.deepEqual(
    again.list().map(({ repoTags }) => repoTags),
    [[`${host}/team/app:v2`]],
  );
});

test('ten askers share one pull', async () => {
  const reference = push('a', 'v1', [gzipLayer({ file: 'x' })]);
  await Promise.all(Array.from({ length: 10 }, () => store.pull(reference)));
  assert.equal(fetched.length, 3);
});

test('what is missing, refused or damaged has the message that users know, and leaves nothing', async () => {
  const layer = gzipLayer({ file: 'x' });
  const reference = push('a', 'v1', [layer]);
  await rejects(
    store.pull(`${host}/none:v1`),
    'NOT_FOUND',
    /failed to pull and unpack image ".*none:v1": failed to resolve reference ".*": .*none:v1: not found/,
  );
  await rejects(store.pull('127.0.0.1:1/none:v1'), 'UNAVAILABLE', /ECONNREFUSED/);
  await rejects(store.pull('UPPER/case'), 'UNAVAILABLE', /UPPER/).catch(() =>
    rejects(store.pull('a b'), 'INVALID_ARGUMENT', /invalid reference format/),
  );
  documents.set(`/v2/a/blobs/${sha256(layer.blob)}`, gzipLayer({ file: 'Y' }).blob);
  await rejects(store.pull(reference), 'DATA_LOSS', /unexpected digest|longer than/);
  intercept = (_request, response) => {
    response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    return true;
  };
  await rejects(
    store.pull(reference),
    'UNAUTHENTICATED',
    /pull access denied, repository does not exist or may require authorization/,
  );
  assert.deepEqual(await readdir(join(root, 'layers')), []);
  assert.equal(store.list().length, 0);
});

test('basic and bearer authentication', async () => {
  const reference = push('a', 'v1', [gzipLayer({ file: 'x' })]);
  const basic = `Basic ${Buffer.from('me:secret').toString('base64')}`;
  intercept = (request, response) => {
    if (request.headers.authorization === basic) return false;
    response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    return true;
  };
  await store.pull(reference, { auth: { username: 'me', password: 'secret' } });
  await store.remove(reference);
  intercept = (request, response) => {
    if (request.url!.startsWith('/token')) {
      response.end(
        JSON.stringify(
          request.headers.authorization === basic && request.url!.includes('scope=repository%3Aa%3Apull')
            ? { token: 'T' }
            : {},
        ),
      );
      return true;
    }
    if (request.headers.authorization === 'Bearer T') return false;
    response
      .writeHead(401, {
        'www-authenticate': `Bearer realm="http://${host}/token",service="s",scope="repository:a:pull"`,
      })
      .end();
    return true;
  };
  await store.pull(reference, { auth: { auth: Buffer.from('me:secret').toString('base64') } });
});

test('a connection that breaks in the middle of a layer is taken up again', async () => {
  const layer = gzipLayer({
    file: Buffer.from(Array.from({ length: 300_000 }, () => Math.random() * 64 + 48)).toString('latin1'),
  });
  const reference = push('a', 'v1', [layer]);
  let broken = 0;
  intercept = (request, response, body) => {
    if (!request.url!.endsWith(sha256(layer.blob)) || broken > 1) return false;
    broken++;
    const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.writeHead(from > 0 ? 206 : 200, { 'content-length': body!.length - from });
    response.write(body!.subarray(from, from + 50_000), () => response.destroy());
    return true;
  };
  await store.pull(reference);
  assert.equal(broken, 2);
});

test('archives cannot write outside', async () => {
  const cases: [string, Layer][] = [
    ['up', gzipLayer({ '../evil': 'x' })],
    ['link', gzipLayer({ out: { link: '../../../../..' }, 'out/evil': 'x' })],
    ['hard', gzipLayer({ h: { link: '../../evil', hard: true } })],
    ['absolute', gzipLayer({ abs: { link: root }, 'abs/evil': 'x' })],
  ];
  for (const [tag, layer] of cases)
    await store
      .pull(push('evil', tag, [layer]))
      .catch((error: ImageError) => assert.equal(error.code, 'INVALID_ARGUMENT', tag));
  assert.ok(!existsSync(join(root, 'evil')) && !existsSync(join(root, 'layers/evil')) && !existsSync('/evil'));
});

test('what a crash left half done is cleaned up', async () => {
  await store.pull(push('a', 'v1', [gzipLayer({ file: 'x' })]));
  await writeFile(join(root, 'layers/.new-1'), '');
  await store.collect();
  const again = await openImageStore({ root, log: createLogger('test', () => {}), clock: systemClock });
  await again.close();
  assert.equal((await readdir(join(root, 'layers'))).length, 1);
  assert.equal(await readFile(join(again.layerPaths(again.list()[0]!.id)[0]!, 'file'), 'utf8'), 'x');
});
