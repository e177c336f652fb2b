/** Images by way of mirrors, certificates, credentials and configuration files, from registries on loopback. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, before, beforeEach, test } from 'node:test';
import { systemClock } from '../../src/async/index.ts';
import { createLogger } from '../../src/log/index.ts';
import { ImageError, type ImageStore, type ImageStoreOptions, openImageStore } from '../../src/runtime/images/index.ts';
import {
  type CertificateAuthority,
  createCertificateAuthority,
  issueCertificate,
} from '../../src/wire/certificates/index.ts';
import { digestOf, makeImage, makeLayer, type TestImage } from '../support/images.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';

let base: string;
let main: TestRegistry;
let mirror: TestRegistry;
let store: ImageStore;
let authority: CertificateAuthority;
const image = makeImage([makeLayer([{ path: 'a', content: 'a' }]), makeLayer([{ path: 'b', content: 'b' }])]);

before(async () => {
  authority = await createCertificateAuthority('registries', Date.now());
});
beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'dh-images-'));
  [main, mirror] = await Promise.all([startRegistry(), startRegistry()]);
  main.push('team/app', 'v1', image);
  store = await open();
});
afterEach(async () => {
  await store.close();
  await Promise.all([main, mirror].map((one) => one[Symbol.asyncDispose]()));
  await rm(base, { recursive: true, force: true });
});

const open = (options: Partial<ImageStoreOptions> = {}) =>
  openImageStore({
    root: join(base, 'images'),
    registryHostsDirectory: join(base, 'certs.d'),
    registriesConf: join(base, 'registries.conf'),
    registryAuthFiles: [join(base, 'auth.json')],
    log: createLogger('test', () => {}),
    clock: systemClock,
    ...options,
  });

async function write(name: string, text: string): Promise<string> {
  const path = join(base, name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
  return path;
}

const refused = (work: Promise<unknown>, code: string, text: RegExp) =>
  assert.rejects(work, (error: unknown) => {
    assert.ok(error instanceof ImageError);
    assert.equal(error.code, code, error.message);
    assert.match(error.message, text);
    return true;
  });

const signed = (usage: 'server' | 'client') =>
  issueCertificate(authority, { commonName: usage, ipAddresses: ['127.0.0.1'], usages: [usage] }, Date.now());

test('mirrors in order: what one has not, or breaks on, comes from the next, and the server hears for whom it is', async () => {
  await write(
    'certs.d/reg.example/hosts.toml',
    `server = "http://${main.host}"\n[host."http://127.0.0.1:1"]\n[host."http://${mirror.host}"]\n[host."http://${mirror.host}".header]\nx-key = "k"\n`,
  );
  const pulled = await store.pull('reg.example/team/app:v1');
  assert.deepEqual(pulled.repoTags, ['reg.example/team/app:v1']);
  assert.ok(mirror.requests.every(({ query, headers }) => query === '?ns=reg.example' && headers['x-key'] === 'k'));
  assert.ok(main.requests.every(({ query, headers }) => query === '' && !headers['x-key']));
  await store.remove(pulled.id);

  mirror.push('team/app', 'v1', image);
  const before = main.requests.length;
  await store.pull('reg.example/team/app:v1');
  assert.equal(main.requests.length, before, 'the mirror has it');
  await store.remove(pulled.id);

  mirror.faults = { corrupt: { path: /blobs/ } };
  await store.pull('reg.example/team/app:v1');
  assert.ok(main.requests.length > before, 'the mirror is damaged');
  await refused(
    store.pull('reg.example/team/app:none'),
    'NOT_FOUND',
    /app:none: not found \(before that, http:\/\/127\.0\.0\.1:1: .*ECONNREFUSED.*; http:\/\/127.*not found\)/,
  );
});

test('a layer that one mirror gave is not asked for again from the next', async () => {
  mirror.push('team/app', 'v1', image);
  await write('certs.d/reg.example/hosts.toml', `server = "http://${main.host}"\n[host."http://${mirror.host}"]\n`);
  mirror.faults = { status: { code: 404, path: new RegExp(image.layers[1]!.digest) } };
  const one = await open({ maxParallelLayers: 1 });
  await one.pull('reg.example/team/app:v1');
  assert.equal(main.fetches(image.layers[0]!.digest), 0);
  assert.equal(main.fetches(image.layers[1]!.digest), 1);
  await one.close();
});

test("containers' registries.conf: locations, mirrors, short names, blocked registries, changed while running", async () => {
  mirror.push('cache/app', 'v1', image);
  await write(
    'registries.conf',
    `[[registry]]\nprefix = "reg.example/team"\nlocation = "${main.host}/team"\ninsecure = true\n`,
  );
  await store.pull('reg.example/team/app:v1');
  assert.equal(mirror.requests.length, 0);
  await store.remove('reg.example/team/app:v1');
  await write(
    'registries.conf',
    `unqualified-search-registries = ["reg.example/team"]
[aliases]
"tool" = "reg.example/team/app"
[[registry]]
prefix = "reg.example/team"
location = "${main.host}/team"
insecure = true
[[registry.mirror]]
location = "${mirror.host}/cache"
insecure = true
[[registry]]
location = "bad.example"
blocked = true
`,
  );
  const pulled = await store.pull('tool:v1');
  assert.deepEqual(pulled.repoTags, ['reg.example/team/app:v1']);
  assert.ok(mirror.requests.length > 0);
  assert.equal(store.status('tool:v1')?.id, pulled.id);
  assert.equal(store.status('app:v1')?.id, pulled.id);
  await refused(
    store.pull('bad.example/x'),
    'PERMISSION_DENIED',
    /registry bad\.example is blocked in .*registries\.conf:\d+/,
  );
  await write('registries.conf', '[[registry]\n');
  assert.equal((await store.pull('tool:v1')).id, pulled.id, 'what it said before counts');
});

test('a CA of its own, a client certificate, skipping verification, and the refusal without', async () => {
  const server = await signed('server');
  const client = await signed('client');
  const strict = await startRegistry({ ...server, clientCa: authority.cert });
  const open443 = await startRegistry(server);
  try {
    for (const registry of [strict, open443]) registry.push('team/app', 'v1', image);
    await write('certs.d/ca.pem', authority.cert);
    await write('certs.d/client.pem', client.cert);
    await write('certs.d/client.key', client.key);
    const rule = async (registry: TestRegistry, lines: string) => {
      await write(`certs.d/${registry.host}/hosts.toml`, `server = "https://${registry.host}"\n${lines}`);
      await store.remove(image.id);
      return store.pull(`${registry.host}/team/app:v1`);
    };
    await refused(rule(open443, ''), 'UNAVAILABLE', /self-signed certificate|unable to verify/);
    await rule(open443, 'ca = "../ca.pem"');
    await rule(open443, 'skip_verify = true');
    await refused(rule(strict, 'ca = "../ca.pem"'), 'UNAVAILABLE', /certificate|ECONNRESET|socket hang up/);
    await rule(strict, 'ca = "../ca.pem"\nclient = ["../client.pem", "../client.key"]');
    await store.remove(image.id);
    await rm(join(base, 'certs.d', strict.host), { recursive: true });
    for (const [file, text] of [
      ['ca.crt', authority.cert],
      ['me.cert', client.cert],
      ['me.key', client.key],
    ] as const)
      await write(`certs.d/${strict.host}/${file}`, text);
    await store.pull(`${strict.host}/team/app:v1`);
  } finally {
    await Promise.all([strict, open443].map((one) => one[Symbol.asyncDispose]()));
  }
});

test('credentials from a file, from the request, for another server; never to where a redirect leads', async () => {
  const user = { username: 'me', password: 'secret' };
  main.faults = { basic: user };
  const name = `${main.host}/team/app:v1`;
  await refused(store.pull(name), 'UNAUTHENTICATED', /may require authorization/);
  await refused(
    store.pull(name, { auth: { ...user, serverAddress: 'other.example' } }),
    'UNAUTHENTICATED',
    /authorization/,
  );
  await store.pull(name, { auth: { ...user, serverAddress: main.host } });
  await store.remove(name);
  await write('auth.json', JSON.stringify({ auths: { [`${main.host}/team`]: user } }));
  mirror.push('team/app', 'v1', image);
  main.faults = { basic: user, redirect: { origin: `http://${mirror.host}` } };
  await store.pull(name);
  assert.ok(mirror.requests.length > 0 && mirror.requests.every(({ headers }) => !headers.authorization));
  await store.remove(name);
  main.faults = { basic: user, status: { code: 403, path: /manifests/ } };
  await refused(store.pull(name), 'PERMISSION_DENIED', /insufficient_scope/);
});

test('a refresh token is exchanged, a registry token sent as it is', async () => {
  const name = `${main.host}/team/app:v1`;
  main.faults = { bearer: { refreshToken: 'R' } };
  await refused(store.pull(name), 'UNAUTHENTICATED', /may require authorization/);
  await store.pull(name, { auth: { identityToken: 'R' } });
  const asked = main.requests.filter(({ path }) => path === '/token');
  assert.deepEqual([...new Set(asked.map(({ method }) => method))].sort(), ['GET', 'POST']);
  await store.remove(name);
  main.faults = { bearer: {}, fixedToken: 'F' };
  const before = main.requests.length;
  await store.pull(name, { auth: { registryToken: 'F' } });
  assert.ok(
    main.requests.slice(before).every(({ path, headers }) => path !== '/token' && headers.authorization === 'Bearer F'),
  );
});

test('layers that may not be distributed come from the addresses of their descriptor', async () => {
  const layer = makeLayer([{ path: 'foreign' }]);
  const foreign = withUrls(makeImage([layer]), `http://${mirror.host}/elsewhere/0/${layer.digest}`);
  mirror.pushBlob(layer.blob);
  main.push('foreign', 'v1', foreign);
  main.faults = { status: { code: 404, path: new RegExp(layer.digest) } };
  const pulled = await store.pull(`${main.host}/foreign:v1`);
  assert.deepEqual(pulled.layers, [layer.diffId]);
});

/** The same image, its layer of Docker's foreign type. */
function withUrls(original: TestImage, url: string): TestImage {
  const manifest = JSON.parse(original.document.toString());
  manifest.layers[0].mediaType = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
  manifest.layers[0].urls = ['ftp://nowhere/', url];
  const document = Buffer.from(JSON.stringify(manifest));
  return { ...original, document, digest: digestOf(document) };
}

test('what is no container image is refused by its kind', async () => {
  const blob = main.pushBlob(Buffer.from('{}'));
  const descriptor = { mediaType: 'application/vnd.oci.empty.v1+json', digest: blob, size: 2 };
  const document = (more: object) => Buffer.from(JSON.stringify({ schemaVersion: 2, ...more }));
  const oci = 'application/vnd.oci.image.manifest.v1+json';
  const cases: [string, Buffer, string, string, RegExp][] = [
    [
      'artifact',
      document({ artifactType: 'application/vnd.example.sbom', config: descriptor, layers: [descriptor] }),
      oci,
      'INVALID_ARGUMENT',
      /not a container image but an artifact of type "application\/vnd\.example\.sbom"/,
    ],
    [
      'helm',
      document({ config: { ...descriptor, mediaType: 'application/vnd.cncf.helm.config.v1+json' }, layers: [] }),
      oci,
      'INVALID_ARGUMENT',
      /artifact of type "application\/vnd\.cncf\.helm/,
    ],
    [
      'schema1',
      Buffer.from('{"schemaVersion":1,"fsLayers":[]}'),
      'application/vnd.docker.distribution.manifest.v1+prettyjws',
      'INVALID_ARGUMENT',
      /schema 1 manifest/,
    ],
    [
      'many',
      document({
        config: { ...descriptor, mediaType: 'application/vnd.oci.image.config.v1+json' },
        layers: Array(400).fill(descriptor),
      }),
      oci,
      'INVALID_ARGUMENT',
      /has 400 layers, more than the \d+ that can be mounted/,
    ],
    ['deep', Buffer.from(`${'['.repeat(200_000)}${']'.repeat(200_000)}`), oci, 'DATA_LOSS', /not a JSON object/],
    ['huge', Buffer.alloc(9 * 2 ** 20, 0x20), oci, 'RESOURCE_EXHAUSTED', /longer than 8388608 bytes/],
  ];
  for (const [tag, body, mediaType, code, message] of cases)
    await refused(store.pull(main.pushDocument('odd', tag, body, mediaType)), code, message);
  const bomb = Buffer.from(
    `{"config":{"Labels":{"a":"b"},"Deep":${'['.repeat(500_000)}${']'.repeat(500_000)}},"rootfs":{"diff_ids":[]}}`,
  );
  const digest = main.pushBlob(bomb);
  const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: bomb.length };
  const pulled = await store.pull(main.pushDocument('odd', 'config', document({ config, layers: [] }), oci));
  assert.deepEqual(pulled.configuration, { config: { Labels: { a: 'b' } }, rootfs: { type: 'layers', diff_ids: [] } });
});

test('a pull that gets nowhere ends, though it goes on trying', async () => {
  await store.close();
  store = await open({ silenceMs: 60, pullProgressTimeoutMs: 500 });
  main.faults = { stall: { afterBytes: 0 } };
  await refused(store.pull(`${main.host}/team/app:v1`), 'DEADLINE_EXCEEDED', /pull made no progress: nothing came for/);
});

test('which servers would be asked, by which rule, and what they answer', async () => {
  const rule = await write(
    'certs.d/reg.example/hosts.toml',
    `server = "http://${main.host}"\n[host."http://${mirror.host}"]\n`,
  );
  await write('auth.json', JSON.stringify({ auths: { 'reg.example': { username: 'me', password: 'secret' } } }));
  const reports = await store.explain('reg.example/team/app:v1');
  assert.deepEqual(reports, [
    {
      image: 'reg.example/team/app:v1',
      server: `http://${mirror.host}`,
      repository: 'team/app',
      rule,
      credentials: 'none',
      answer: 'not found',
    },
    {
      image: 'reg.example/team/app:v1',
      server: `http://${main.host}`,
      repository: 'team/app',
      rule,
      credentials: 'user me',
      answer: 'found',
    },
  ]);
});
