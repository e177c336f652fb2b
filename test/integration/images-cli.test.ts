/** `deckhand image` as a user types it, on a runtime that runs alone in a network namespace. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { pollUntil } from '../../src/async/index.ts';
import { dockerArchiveFiles, makeImage, makeLayer, packFiles } from '../support/images.ts';
import { NetworkNamespace } from '../support/network-namespace.ts';
import { type Result, run, start } from '../support/processes.ts';

const main = join(import.meta.dirname, '../../src/cli/main.ts');
const node = [
  'env',
  `NODE_COMPILE_CACHE=${join(import.meta.dirname, '../../node_modules/.cache/compile')}`,
  process.execPath,
  '--disable-warning=ExperimentalWarning',
];
let base: string;
let namespace: NetworkNamespace;
let registry: ChildProcess;
let host: string;
let runtime: ChildProcess;
const layer = makeLayer([
  { path: 'etc/' },
  { path: 'etc/motd', content: 'hello\n'.repeat(1000), uid: 5, mtime: 1_234_567_890 },
  { path: 'link', linkPath: 'etc/motd' },
]);
const image = makeImage([layer, makeLayer([{ path: 'etc/.wh.motd' }])], {
  config: { Cmd: ['/x'], Labels: { a: 'b' } },
});

before(async () => {
  base = await mkdtemp(join(tmpdir(), 'dh-image-cli-'));
  namespace = await NetworkNamespace.create('image-cli');
  const [enter, ...rest] = namespace.enter();
  const program = join(import.meta.dirname, '../support/faulty-registry-process.ts');
  // It ends with its input.
  registry = spawn(enter!, [...rest, ...node, program], { stdio: ['pipe', 'pipe', 'inherit'] });
  [host] = (await once(createInterface({ input: registry.stdout! }), 'line')) as [string];
  await mkdir(join(base, 'certs.d/hub.example'), { recursive: true });
  await writeFile(join(base, 'certs.d/hub.example/hosts.toml'), `[host."http://${host}"]\n`);
  await writeFile(
    join(base, 'runtime.yaml'),
    `registryHostsDirectory: ${base}/certs.d\npinnedImages: ["docker.io/demo/pinned:*"]\ncniConfDir: ${base}\n`,
  );
  const places = [
    '--root',
    join(base, 'rt/root'),
    '--state',
    join(base, 'rt/state'),
    '--listen',
    `unix://${base}/r.sock`,
  ];
  runtime = start([...namespace.enter(), ...node, main, 'runtime', ...places, '--config', join(base, 'runtime.yaml')]);
  runtime.stdout!.resume();
  runtime.stderr!.resume();
  await pollUntil('the runtime answers', async () => (await deckhand('ls')).status === 0, { timeoutMs: 30_000 });
});
after(async () => {
  for (const child of [runtime, registry]) {
    const ended = once(child, 'exit');
    if (child.exitCode === null && child.kill('SIGTERM')) await ended;
  }
  await namespace[Symbol.asyncDispose]();
  await rm(base, { recursive: true, force: true });
});

const deckhand = (...argv: string[]): Promise<Result> =>
  run([...node, main, 'image', ...argv, '--root', join(base, 'rt/root'), '--listen', `unix://${base}/r.sock`]);

async function says(...argv: string[]): Promise<string> {
  const { status, stdout, stderr } = await deckhand(...argv);
  assert.equal(status, 0, `${argv.join(' ')}: ${stderr}${stdout}`);
  return stdout;
}

test('import, list, inspect, export in both forms and import again: the same image', async () => {
  const saved = join(base, 'saved.tar');
  const names = ['demo/app:v1', 'demo/app:v2', 'demo/pinned:v1'];
  await writeFile(saved, packFiles(dockerArchiveFiles([{ image, names }])));
  assert.match(await says('import', saved), new RegExp(`^${image.id} docker.io/demo/app:v1 `));
  const list = await says('ls');
  assert.match(list, /^IMAGE +ID +SIZE\n/);
  assert.match(list, new RegExp(`docker\\.io/demo/app:v2 +${image.id.slice(7, 19)} +[\\d.]+ MB  pinned`));
  const shown = JSON.parse(await says('inspect', 'demo/app:v1'));
  assert.deepEqual(shown.configuration.config, { Cmd: ['/x'], Labels: { a: 'b' } });
  assert.deepEqual(
    shown.layers.map(({ diffId }: { diffId: string }) => diffId),
    image.layers.map(({ diffId }) => diffId),
  );
  for (const format of ['oci', 'docker']) {
    const file = join(base, `${format}.tar`);
    await says('export', 'demo/app:v1', 'demo/app:v2', '-o', file, '--format', format);
    assert.ok(existsSync(file) && !existsSync(`${file}.partial`));
    await says('rm', image.id.slice(7, 20));
    assert.equal(JSON.parse(await says('ls', '--json')).length, 0);
    const [first] = (await says('import', file)).split('\n');
    assert.equal(first!.split(' ')[0], image.id, format);
    const again = JSON.parse(await says('inspect', 'demo/app:v2'));
    assert.deepEqual(again.repoTags, ['docker.io/demo/app:v1', 'docker.io/demo/app:v2']);
    assert.deepEqual(again.layers.length, 2);
  }
  const motd = join(base, 'rt/root/images/layers', layer.diffId.slice(7, 23), 'fs/etc/motd');
  assert.equal(await readFile(motd, 'utf8'), 'hello\n'.repeat(1000));
});

test('a registry by its rule: shown, pulled from; what is wrong is told', async () => {
  const shown = await says('registries', 'hub.example/test/good:v1');
  assert.match(
    shown,
    new RegExp(`from http://${host} as test/good\n  rule .*certs\\.d/hub\\.example/hosts\\.toml, .*\n  found`),
  );
  assert.match(await says('pull', 'hub.example/test/good:v1'), /^sha256:[0-9a-f]{64}\n$/);
  const missing = await deckhand('pull', `${host}/test/none:v1`);
  assert.equal(missing.status, 1);
  assert.match(missing.stderr, /none:v1: not found/);
  for (const [argv, message] of [
    [['fly'], /there is no command image fly: pull, ls/],
    [['export', 'x'], /image export needs -o FILE/],
    [['export', 'x', '-o', 'f', '--format', 'zip'], /--format zip is not oci or docker/],
    [['pull', 'x', '--creds', 'me'], /--creds must be USER:PASSWORD/],
  ] as const) {
    const { status, stderr } = await deckhand(...argv);
    assert.equal(status, 2, argv.join(' '));
    assert.match(stderr, message);
  }
  for (const [argv, message] of [
    [['rm', 'nothing'], /there is no image nothing on the node/],
    [['export', 'nothing', '-o', join(base, 'x')], /image nothing not found/],
    [['export', 'hub.example/test/good:v1', '-o', '/nowhere/x'], /cannot write \/nowhere\/x: ENOENT/],
  ] as const) {
    const { status, stderr } = await deckhand(...argv);
    assert.equal(status, 1, argv.join(' '));
    assert.match(stderr, message);
  }
});

test('prune leaves what is pinned; check finds what does not belong and what was changed', async () => {
  assert.match(await says('check', '--deep'), /everything belongs there and is whole/);
  await says('import', join(base, 'oci.tar'), '--name', 'demo/pinned:v1');
  assert.match(await says('prune'), /^freed 0\.0 MB/);
  assert.match(await says('prune', '--all'), /removed hub\.example\/test\/good:v1\nfreed [\d.]+ MB/);
  assert.deepEqual(
    JSON.parse(await says('ls', '--json')).map(({ id }: { id: string }) => id),
    [image.id],
  );
  const layers = join(base, 'rt/root/images/layers');
  await mkdir(join(layers, 'stray'));
  await mkdir(join(base, 'rt/root/snapshots/nobody'));
  await writeFile(join(layers, layer.diffId.slice(7, 23), 'fs/etc/motd'), 'HELLO\n'.repeat(1000));
  const found = await deckhand('check', '--deep');
  assert.equal(found.status, 1);
  assert.match(found.stdout, /layers\/stray: is no layer/);
  assert.match(found.stdout, /nobody: is a root file system of no container/);
  assert.match(found.stdout, new RegExp(`${layer.diffId}: layer: unexpected digest`));
  const exported = await deckhand('export', 'demo/app:v1', '-o', join(base, 'bad.tar'));
  assert.equal(exported.status, 1);
  assert.match(exported.stderr, /is no longer as it was/);
  assert.ok(!existsSync(join(base, 'bad.tar')) && !existsSync(join(base, 'bad.tar.partial')));
});
