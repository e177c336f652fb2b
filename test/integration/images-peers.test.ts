import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { pollUntil, systemClock } from '../../src/async/index.ts';
import { createLogger } from '../../src/log/index.ts';
import { type ImageStore, openImageStore } from '../../src/runtime/images/index.ts';
import { busyboxEntries, digestOf, layoutFiles, makeImage, makeLayer, writeFiles } from '../support/images.ts';
import { output, start } from '../support/processes.ts';
import { startRegistry } from '../support/registry.ts';

let base: string;
before(async () => {
  base = await mkdtemp(join(tmpdir(), 'dh-peers-'));
});
after(() => rm(base, { recursive: true, force: true }));

const openStore = (name: string): Promise<ImageStore> =>
  openImageStore({ root: join(base, name), log: createLogger('test', () => {}), clock: systemClock });

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function busyboxImage() {
  const entries = await busyboxEntries(['sh', 'ls'], [{ path: 'etc/motd', content: 'hello\n' }]);
  return makeImage([makeLayer(entries), makeLayer([{ path: 'etc/.wh.motd' }, { path: 'etc/more', content: 'x' }])]);
}

test("Debian's registry and skopeo: push there, pull and import here", async () => {
  const port = await freePort();
  const host = `127.0.0.1:${port}`;
  const storage = join(base, 'registry');
  await writeFile(
    join(base, 'registry.yml'),
    `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${storage}}}\nhttp: {addr: ${host}}\n`,
  );
  const registry = start(['docker-registry', 'serve', join(base, 'registry.yml')]);
  registry.stdout!.resume();
  registry.stderr!.resume();
  try {
    await pollUntil(
      'the registry answers',
      () =>
        fetch(`http://${host}/v2/`).then(
          ({ ok }) => ok,
          () => false,
        ),
      { timeoutMs: 10_000 },
    );
    const image = await busyboxImage();
    await writeFiles(join(base, 'layout'), layoutFiles([{ image, name: 'v1' }]));
    const policy = ['--insecure-policy'];
    await output([
      'skopeo',
      ...policy,
      'copy',
      '--dest-tls-verify=false',
      `oci:${base}/layout:v1`,
      `docker://${host}/a/b:v1`,
    ]);
    const store = await openStore('pulled');
    const pulled = await store.pull(`${host}/a/b:v1`);
    assert.equal(pulled.id, image.id);
    assert.deepEqual((await readdir(join(store.layerPaths(pulled.id)[1]!, 'bin'))).sort(), ['busybox', 'ls', 'sh']);
    await assert.rejects(store.pull(`${host}/a/b:none`), /a\/b:none: not found/);
    await assert.rejects(store.pull(`${host}/none:v1`), /none:v1: not found/);
    for (const kind of ['docker-archive', 'oci-archive', 'oci'] as const) {
      const target = join(base, `${kind}.out`);
      await output([
        'skopeo',
        ...policy,
        'copy',
        '--src-tls-verify=false',
        `docker://${host}/a/b:v1`,
        `${kind}:${target}:docker.io/a/b:${kind}`,
      ]);
      const importing = await openStore(kind);
      const [added] = await importing.importArchive(target);
      assert.ok(added!.repoTags.includes(`docker.io/a/b:${kind}`), JSON.stringify(added!.repoTags));
      assert.equal(added!.layers.length, 2);
      assert.deepEqual(added!.layers, pulled.layers);
    }
    // And back: what is exported here has the same id there.
    for (const [format, source] of [
      ['oci', 'oci-archive:FILE:v1'],
      ['docker', 'docker-archive:FILE'],
      ['oci', 'docker-archive:FILE'],
    ] as const) {
      const file = join(base, `exported-${format}.tar`);
      await store.exportArchive(file, [`${host}/a/b:v1`], format);
      const raw = await output(['skopeo', ...policy, 'inspect', '--config', '--raw', source.replace('FILE', file)]);
      assert.equal(digestOf(Buffer.from(raw)), image.id, source);
    }
    await store.close();
  } finally {
    registry.kill('SIGKILL');
    await once(registry, 'close');
  }
});

test('kill -9 at any moment of a pull leaves a store that opens, with the image whole or not at all', async () => {
  await using registry = await startRegistry();
  const image = makeImage([
    ...Array.from({ length: 4 }, (_, at) =>
      makeLayer(
        Array.from({ length: 60 }, (_, file) => ({ path: `l${at}/f${file}`, content: 'x'.repeat(20_000) })),
        {
          compression: 'none',
        },
      ),
    ),
  ]);
  const reference = registry.push('killed', 'v1', image);
  registry.faults = { slowMs: 4 };
  const door = (path: string) => JSON.stringify(pathToFileURL(join(import.meta.dirname, '../../src', path)).href);
  const program = `
    const { systemClock } = await import(${door('async/index.ts')});
    const { openImageStore } = await import(${door('runtime/images/index.ts')});
    const log = new Proxy({}, { get: () => () => {} });
    const store = await openImageStore({ root: process.argv[1], log, clock: systemClock });
    process.stdout.write('open\\n');
    await store.pull(${JSON.stringify(reference)});
    process.stdout.write('pulled\\n');`;
  for (const delayMs of [0, 10, 40, 90, 150, 220, 300, 10_000]) {
    const root = join(base, `killed-${delayMs}`);
    const child = spawn(process.execPath, ['--input-type=module', '-e', program, root], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    await pollUntil('the store is open', () => said.includes('open'), { timeoutMs: 20_000, intervalMs: 2 });
    await pollUntil('it is done', () => said.includes('pulled'), { timeoutMs: delayMs, intervalMs: 2 }).catch(() => {});
    const ended = once(child, 'close');
    child.kill('SIGKILL');
    await ended;
    const store = await openStore(`killed-${delayMs}`);
    await store.close();
    const found = store.status(reference);
    if (said.includes('pulled')) assert.equal(found?.id, image.id);
    assert.deepEqual((await readdir(join(root, 'layers'))).length, found ? 4 : 0, `after ${delayMs} ms`);
    for (const path of found ? store.layerPaths(found.id) : []) assert.equal((await readdir(path)).length, 1);
    registry.faults = {};
    assert.equal((await store.pull(reference)).id, image.id);
    registry.faults = { slowMs: 4 };
  }
});
