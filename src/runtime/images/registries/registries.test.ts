import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { systemClock } from '../../../async/index.ts';
import { createLogger } from '../../../log/index.ts';
import { formatImageReference, parseImageReference } from '../image-reference.ts';
import { Registries, type RegistriesOptions } from './registries.ts';
import type { RegistryAuth } from './registry-config.ts';

let directory: string;
let warnings: string[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'dh-registries-'));
  warnings = [];
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function write(name: string, text: string): Promise<string> {
  const path = join(directory, name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
  return path;
}

const open = (more: Partial<RegistriesOptions> = {}) =>
  Registries.open({
    hostsDirectory: join(directory, 'certs.d'),
    registriesConf: join(directory, 'registries.conf'),
    authFiles: [join(directory, 'auth.json')],
    log: createLogger('test', (level) => warnings.push(level)),
    clock: systemClock,
    ...more,
  });

const ask = (registries: Registries, text: string, auth?: RegistryAuth) =>
  registries.endpoints(parseImageReference(text), auth);
const servers = async (registries: Registries, text: string) =>
  (await ask(registries, text)).map(({ baseUrl, repository }) => `${baseUrl} ${repository}`);

test('without any file: the registry itself, Docker Hub under its own address, loopback without TLS', async () => {
  const registries = open();
  assert.deepEqual(await servers(registries, 'busybox'), ['https://registry-1.docker.io library/busybox']);
  assert.deepEqual(await servers(registries, 'quay.io/a/b:c'), ['https://quay.io a/b']);
  assert.deepEqual(await servers(registries, 'localhost:5000/a'), ['http://localhost:5000 a']);
  assert.deepEqual(registries.candidates('a/b:c').map(formatImageReference), ['docker.io/a/b:c']);
});

test('hosts.toml: mirrors in order, then the server; capabilities, headers, certificates, timeouts', async () => {
  const pem = '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n';
  await write('certs.d/docker.io/ca.pem', pem);
  await write('certs.d/docker.io/pair.pem', `${pem}-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n`);
  await write(
    'certs.d/docker.io/hosts.toml',
    `server = "https://hub.example"
ca = ["ca.pem", "./ca.pem"]

[host."https://mirror.example/some/path"]
  capabilities = ["pull"]
  client = "pair.pem"
  skip_verify = true
  dial_timeout = "1.5s"
  [host."https://mirror.example/some/path".header]
    x-token = "one"
    x-list = ["a", "b"]

[host."http://second.example:5000/v2/cache"]
  override_path = true
`,
  );
  const registries = open();
  const byTag = await ask(registries, 'busybox');
  assert.deepEqual(
    byTag.map(({ baseUrl }) => baseUrl),
    ['http://second.example:5000/v2/cache', 'https://hub.example'],
  );
  const byDigest = await ask(registries, `busybox@sha256:${'a'.repeat(64)}`);
  assert.equal(byDigest.length, 3);
  const [first, second, server] = byDigest;
  assert.deepEqual(first!.headers, { 'x-token': 'one', 'x-list': 'a, b' });
  assert.deepEqual([first!.insecureSkipTlsVerify, first!.answerTimeoutMs, first!.namespace], [true, 1500, 'docker.io']);
  assert.match(first!.key!, /PRIVATE KEY/);
  assert.equal(second!.overridePath, true);
  assert.deepEqual([server!.ca, server!.namespace], [`${pem}\n${pem}`, undefined]);
});

test('hosts.toml: a port in the name of a directory, _default, and certificates without a hosts.toml', async () => {
  const pem = '-----BEGIN CERTIFICATE-----\nx\n';
  await write('certs.d/reg.example_5000_/hosts.toml', 'server = "https://a.example"');
  await write('certs.d/reg.example:5000/hosts.toml', 'server = "https://b.example"');
  await write('certs.d/_default/hosts.toml', '[host."https://any.example"]');
  await write('certs.d/docker.example/x.crt', pem);
  await write('certs.d/docker.example/x.cert', pem);
  await write('certs.d/docker.example/x.key', pem);
  const registries = open();
  assert.deepEqual(await servers(registries, 'reg.example:5000/x'), ['https://a.example x']);
  assert.deepEqual(await servers(registries, 'other.example/x'), ['https://any.example x', 'https://other.example x']);
  const [docker] = await ask(registries, 'docker.example/x');
  assert.deepEqual([docker!.ca, docker!.cert, docker!.key], [pem, pem, pem]);
});

test('what is wrong in a file is told with its line', async () => {
  const cases: [string, string, RegExp][] = [
    ['certs.d/a.example/hosts.toml', 'server = "https://x"\nservr = "y"\n', /hosts\.toml:2: unknown key "servr"/],
    ['certs.d/a.example/hosts.toml', '[host."https://m"]\n\n  skip_verfy = true\n', /hosts\.toml:3: unknown key/],
    [
      'certs.d/a.example/hosts.toml',
      '[host."https://m"]\nskip_verify = "yes"\n',
      /:2: skip_verify must be true or false/,
    ],
    [
      'certs.d/a.example/hosts.toml',
      '\n[host."https://m"]\ncapabilities = ["pull",\n "fly"]',
      /:3: unknown capability "fly"/,
    ],
    ['certs.d/a.example/hosts.toml', '[host."ftp://m"]\n', /:1: "ftp:\/\/m" is not the address of a server/],
    ['certs.d/a.example/hosts.toml', 'ca = "missing.pem"\n', /:1: cannot read .*missing\.pem/],
    ['certs.d/a.example/hosts.toml', 'a = = 1', /hosts\.toml:1: /],
    ['certs.d/a.example/hosts.toml', 'dial_timeout = "soon"', /:1: dial_timeout "soon" is not like/],
    [
      'registries.conf',
      '# comment\n[[registry]]\nlocation = "a"\n[[registry]]\nlocaton = "b"\n',
      /conf:5: unknown key "locaton"/,
    ],
    ['registries.conf', '[[registry]]\nprefix = "https://a"\n', /conf:2: "https:\/\/a" must be without/],
    [
      'registries.conf',
      '[[registry]]\nprefix = "a.b"\n[[registry.mirror]]\n[[registry.mirror]]\ninsecure = true',
      /conf:3: a mirror needs a location/,
    ],
    ['registries.conf', '[registries.search]\nregistries = ["x"]\n', /version 1/],
    [
      'registries.conf',
      'unqualified-search-registries = "x"',
      /conf:1: unqualified-search-registries must be a list of strings/,
    ],
    ['registries.conf', '\nshort-name-mode = "lax"', /conf:2: short-name-mode must be/],
    ['registries.conf.d/10-a.conf', 'x = 1', /10-a\.conf:1: unknown key "x"/],
    ['auth.json', '{"auths": [', /auth\.json: is not JSON/],
    ['auth.json', '{"auths": {"a": {"auth": "!!"}}}', /auth\.json: auth of "a" is not base64/],
    ['auth.json', '{"credsStore": "../x"}', /is not the name of a credential helper/],
  ];
  for (const [name, text, message] of cases) {
    await rm(join(directory, name.split('/')[0]!), { recursive: true, force: true });
    const path = await write(name, text);
    assert.throws(() => open(), message, text);
    await rm(path);
  }
});

test('registries.conf: the longest prefix, other locations, mirrors, insecure, blocked, drop-ins', async () => {
  await write(
    'registries.conf',
    `[[registry]]
prefix = "example.com/team"
location = "inner.example:5000/mirror/team"
insecure = true

[[registry.mirror]]
location = "m1.example/cache"
[[registry.mirror]]
location = "m2.example"
pull-from-mirror = "digest-only"
insecure = true

[[registry]]
prefix = "example.com"
blocked = true

[[registry]]
prefix = "*.wild.example"
[[registry.mirror]]
location = "wild-mirror.example"

[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "hub-mirror.example/hub"
`,
  );
  await write('registries.conf.d/90-last.conf', '[[registry]]\nlocation = "later.example"\nblocked = true\n');
  await write('registries.conf.d/README', 'not = read =');
  const registries = open();
  assert.deepEqual(await servers(registries, 'example.com/team/app:v1'), [
    'https://m1.example cache/app',
    'https://inner.example:5000 mirror/team/app',
    'http://inner.example:5000 mirror/team/app',
  ]);
  const byDigest = await ask(registries, `example.com/team/app@sha256:${'b'.repeat(64)}`);
  assert.deepEqual(
    byDigest.map(({ baseUrl, insecureSkipTlsVerify = false }) => [baseUrl, insecureSkipTlsVerify]),
    [
      ['https://m1.example', false],
      ['https://m2.example', true],
      ['http://m2.example', true],
      ['https://inner.example:5000', true],
      ['http://inner.example:5000', true],
    ],
  );
  await assert.rejects(
    ask(registries, 'example.com/teams/x'),
    /registry example\.com is blocked in .*registries\.conf:13/,
  );
  await assert.rejects(ask(registries, 'later.example/x'), /blocked in .*90-last\.conf:1/);
  assert.deepEqual(await servers(registries, 'a.wild.example/x'), [
    'https://wild-mirror.example x',
    'https://a.wild.example x',
  ]);
  assert.deepEqual(await servers(registries, 'wild.example/x'), ['https://wild.example x']);
  assert.deepEqual(await servers(registries, 'busybox'), [
    'https://hub-mirror.example hub/library/busybox',
    'https://registry-1.docker.io library/busybox',
  ]);
});

test('short names: aliases, several registries, and the strict mode', async () => {
  await write(
    'registries.conf',
    'unqualified-search-registries = ["one.example", "two.example"]\n[aliases]\n"tool" = "three.example/the/tool"\n',
  );
  const registries = open();
  const names = (text: string) => registries.candidates(text).map(formatImageReference);
  assert.deepEqual(names('app:v1'), ['one.example/app:v1', 'two.example/app:v1']);
  assert.deepEqual(names('tool:v2'), ['three.example/the/tool:v2']);
  assert.deepEqual(names('docker.io/app'), ['docker.io/library/app:latest']);
  assert.equal(registries.candidatesToPull('app').length, 2);
  await write(
    'registries.conf',
    'unqualified-search-registries = ["a.example", "b.example"]\nshort-name-mode = "enforcing"',
  );
  assert.throws(() => registries.candidatesToPull('app'), /short name "app" may be in a\.example, b\.example/);
  assert.equal(registries.candidates('app').length, 2);
});

test('credentials: the longest key, old addresses, what the request brings first, and only where they belong', async () => {
  const basic = (text: string) => Buffer.from(text).toString('base64');
  await write(
    'auth.json',
    JSON.stringify({
      auths: {
        'https://index.docker.io/v1/': { auth: basic('hub:pw') },
        'quay.io': { username: 'all', password: 'x' },
        'quay.io/team': { identitytoken: 'T' },
        'empty.example': {},
      },
    }),
  );
  await write('certs.d/quay.io/hosts.toml', '[host."https://mirror.example"]');
  const registries = open();
  const auth = async (text: string, given?: RegistryAuth) =>
    (await ask(registries, text, given)).map((one) => one.auth);
  assert.deepEqual(await auth('busybox'), [{ auth: basic('hub:pw') }]);
  assert.deepEqual(await auth('quay.io/a/b'), [undefined, { username: 'all', password: 'x' }]);
  assert.deepEqual(await auth('quay.io/team/b'), [undefined, { identityToken: 'T' }]);
  assert.deepEqual(await auth('quay.io/teams/b'), [undefined, { username: 'all', password: 'x' }]);
  assert.deepEqual(await auth('quay.io/team/b', { registryToken: 'R' }), [undefined, { registryToken: 'R' }]);
  assert.deepEqual(await auth('empty.example/x'), [undefined]);
  const elsewhere = { username: 'u', password: 'p', serverAddress: 'https://other.example/v1/' };
  assert.deepEqual(await auth('empty.example/x', elsewhere), [undefined]);
  const right = { ...elsewhere, serverAddress: 'empty.example' };
  assert.deepEqual(await auth('empty.example/x', right), [right]);
});

test('credential helpers are asked; one that fails says so', async () => {
  const bin = join(directory, 'bin');
  const program = await write(
    'bin/docker-credential-test',
    '#!/bin/sh\nread host\ncase $host in good.example) echo \'{"Username":"<token>","Secret":"S"}\';; none.example) echo "credentials not found in native keychain"; exit 1;; *) echo oh; exit 2;; esac\n',
  );
  const { chmod } = await import('node:fs/promises');
  await chmod(program, 0o755);
  await write(
    'auth.json',
    JSON.stringify({ credHelpers: { 'good.example': 'test', 'bad.example': 'test' }, credsStore: 'test' }),
  );
  const path = process.env.PATH;
  process.env.PATH = `${bin}:${path}`;
  try {
    const registries = open();
    assert.deepEqual((await ask(registries, 'good.example/x'))[0]!.auth, { identityToken: 'S' });
    assert.equal((await ask(registries, 'none.example/x'))[0]!.auth, undefined);
    await assert.rejects(ask(registries, 'bad.example/x'), /docker-credential-test has no answer for bad\.example: oh/);
  } finally {
    process.env.PATH = path;
  }
});

test('files are read again when they change; while one is wrong, what it said before counts', async () => {
  const registries = open();
  assert.deepEqual(await servers(registries, 'a.example/x'), ['https://a.example x']);
  const conf = await write('registries.conf', '[[registry]]\nlocation = "a.example"\nblocked = true');
  await assert.rejects(ask(registries, 'a.example/x'), /blocked/);
  await writeFile(conf, 'oh dear');
  await assert.rejects(ask(registries, 'a.example/x'), /blocked/);
  assert.match(registries.problem!, /registries\.conf:1/);
  assert.equal(warnings.length, 1);
  await writeFile(conf, '');
  assert.deepEqual(await servers(registries, 'a.example/x'), ['https://a.example x']);
  assert.equal(registries.problem, undefined);
  const hosts = await write('certs.d/a.example/hosts.toml', 'server = "https://b.example"');
  assert.deepEqual(await servers(registries, 'a.example/x'), ['https://b.example x']);
  await writeFile(hosts, 'server = "https://c.example"');
  await utimes(hosts, 5, 5);
  assert.deepEqual(await servers(registries, 'a.example/x'), ['https://c.example x']);
  await writeFile(hosts, 'nonsense = 1');
  assert.deepEqual(await servers(registries, 'a.example/x'), ['https://c.example x']);
  assert.match(registries.problem!, /hosts\.toml:1: unknown key "nonsense"/);
});

test('rules of the settings come before hosts.toml', async () => {
  await write('certs.d/a.example/hosts.toml', 'server = "https://file.example"');
  const registries = open({
    rules: () => [
      { registry: 'a.example', mirrors: ['http://m.example/'], auth: { username: 'u', password: 'p' } },
      { registry: '127.0.0.1:5000', ca: 'X' },
      { registry: '*', mirrors: ['http://any.example'] },
    ],
  });
  assert.deepEqual(await servers(registries, 'a.example/x'), ['http://m.example x', 'https://a.example x']);
  const [mirror, own] = await ask(registries, 'a.example/x');
  assert.deepEqual([mirror!.auth, own!.auth], [undefined, { username: 'u', password: 'p' }]);
  assert.deepEqual(await servers(registries, '127.0.0.1:5000/x'), ['https://127.0.0.1:5000 x']);
  assert.deepEqual(await servers(registries, 'b.example/x'), ['http://any.example x', 'https://b.example x']);
});
