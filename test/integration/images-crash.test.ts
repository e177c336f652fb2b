/** A store is killed at each step of a pull and of a removal, runs out of space there, and is looked at afterwards. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { armedFaults, armFaults, systemClock } from '../../src/async/index.ts';
import { createLogger } from '../../src/log/index.ts';
import { type ImageStore, openImageStore } from '../../src/runtime/images/index.ts';
import { makeImage, makeLayer } from '../support/images.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';

const source = join(import.meta.dirname, '../../src/runtime/images');
const files = (await readdir(source)).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'));
const texts = await Promise.all(files.map((name) => readFile(join(source, name), 'utf8')));
const points = texts
  .flatMap((text) => [...text.matchAll(/\bfaultPoint\('([^']+)'\)/g)].map((match) => match[1]!))
  .sort();

let base: string;
let registry: TestRegistry;
const shared = makeLayer([{ path: 'shared', content: 'x'.repeat(5000) }]);
// One that is unpacked in a thread, and one that is not.
const large = makeLayer([{ path: 'large', content: Buffer.alloc(300_000, 'large') }], { compression: 'none' });
const image = makeImage([shared, large, makeLayer([{ path: 'top' }])]);
const kept = makeImage([shared, makeLayer([{ path: 'kept' }])]);

before(async () => {
  base = await mkdtemp(join(tmpdir(), 'dh-images-crash-'));
  registry = await startRegistry();
  registry.push('killed', 'v1', image);
  registry.push('kept', 'v1', kept);
});
after(async () => {
  await registry[Symbol.asyncDispose]();
  await rm(base, { recursive: true, force: true });
});

const open = (root: string): Promise<ImageStore> =>
  openImageStore({ root, log: createLogger('test', () => {}), clock: systemClock });

/** Pulls one image, arms faults, and then pulls and removes another, in a process of its own; gives how far it came. */
async function live(root: string, faults: string): Promise<string> {
  const door = (path: string) => JSON.stringify(pathToFileURL(join(import.meta.dirname, '../../src', path)).href);
  const program = `
    const { armFaults, systemClock } = await import(${door('async/index.ts')});
    const { openImageStore } = await import(${door('runtime/images/index.ts')});
    const log = new Proxy({}, { get: () => () => {} });
    const store = await openImageStore({ root: process.argv[1], log, clock: systemClock });
    await store.pull('${registry.host}/kept:v1');
    await store.close();
    armFaults(process.argv[2]);
    await store.pull('${registry.host}/killed:v1');
    process.stdout.write('pulled ');
    await store.close();
    await store.remove('${registry.host}/killed:v1');
    process.stdout.write('removed');
    await store.close();`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program, root, faults], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const [, signal] = (await once(child, 'close')) as [number | null, string | null];
  if (faults !== '') assert.equal(signal, 'SIGKILL', `nothing passes ${faults}: ${said}`);
  return said;
}

/** What is there is whole and belongs there. */
async function isClean(store: ImageStore): Promise<void> {
  assert.deepEqual(await store.check({ deep: true }), []);
  assert.equal(store.status(`${registry.host}/kept:v1`)?.id, kept.id);
}

test('kill -9 at each step: images are whole or not there, nothing is left over, all goes on', async () => {
  assert.ok(points.length >= 12, points.join(' '));
  for (const point of points) {
    // Each layer passes there: the second time others are in place already.
    for (const pass of point === 'pull-image:layer' ? ['', '@2'] : ['']) {
      const root = join(base, `kill-${point}${pass}`.replaceAll(/[:@]/g, '-'));
      const said = await live(root, `${point}${pass}=kill`);
      const store = await open(root);
      const found = store.status(`${registry.host}/killed:v1`);
      if (found) assert.equal(found.id, image.id);
      if (said === 'pulled ' && point.startsWith('pull-image:')) assert.ok(found, point);
      await isClean(store);
      assert.equal((await store.pull(`${registry.host}/killed:v1`)).id, image.id, point);
      await store.remove(image.id);
      await isClean(store);
      await store.close();
    }
  }
});

test('a step that fails, or finds no space: the call fails or not, and nothing is left over', async () => {
  for (const point of points) {
    for (const action of ['error', 'enospc'] as const) {
      const store = await open(join(base, `${action}-${point.replace(':', '-')}`));
      await store.pull(`${registry.host}/kept:v1`);
      await store.close();
      armFaults(`${point}=${action}`);
      try {
        for (const work of [
          () => store.pull(`${registry.host}/killed:v1`),
          () => store.close(),
          () => store.remove(`${registry.host}/killed:v1`),
        ])
          await work().catch((error: Error) => assert.match(error.message, /fault at|no space left/));
        assert.deepEqual(armedFaults(), [], `nothing passes ${point}`);
      } finally {
        armFaults('');
      }
      await store.close();
      await store.collect();
      await isClean(store);
      assert.equal((await store.pull(`${registry.host}/killed:v1`)).id, image.id, point);
      await store.close();
    }
  }
});

test('after a crash of the machine, images that may not be on the disk do not count; the others stay', async () => {
  const root = join(base, 'power');
  await live(root, 'pull-image:synced=kill');
  const file = join(root, 'images.json');
  const index = JSON.parse(await readFile(file, 'utf8'));
  const marked = index.images.filter(({ unsynced }: { unsynced?: string }) => unsynced);
  assert.deepEqual(
    marked.map(({ id }: { id: string }) => id),
    [image.id],
  );
  // As the next boot finds it, with a layer that never reached the disk.
  marked[0].unsynced = 'another boot';
  await writeFile(file, JSON.stringify(index));
  await rm(join(root, 'layers', large.diffId.slice(7, 23), 'fs/large'));
  const store = await open(root);
  assert.equal(store.status(`${registry.host}/killed:v1`), undefined);
  await isClean(store);
  await store.pull(`${registry.host}/killed:v1`);
  await isClean(store);
  await store.close();
  // A configuration that is damaged, and a layer that is gone, take away their image and nothing else.
  await writeFile(join(root, 'configurations', image.id.replace(':', '-')), '{}');
  const damaged = await open(root);
  assert.equal(damaged.status(image.id), undefined);
  await isClean(damaged);
  await damaged.pull(`${registry.host}/killed:v1`);
  await damaged.close();
  await rm(join(root, 'layers', large.diffId.slice(7, 23)), { recursive: true });
  const bereft = await open(root);
  assert.equal(bereft.status(image.id), undefined);
  await isClean(bereft);
  await bereft.close();
});
