/** `deckhand image build`: an image of the proxy as a file. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { output, run } from '../support/processes.ts';

const deckhand = join(import.meta.dirname, '../../bin/deckhand');

describe('an image of the proxy', () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'dh-proxy-image-'));
  });
  after(() => rm(directory, { recursive: true, force: true }));

  const build = (...argv: string[]) => run([deckhand, 'image', 'build', ...argv], { timeoutMs: 120_000 });

  test('the image is the same each time, as an archive and as a layout, and another tool reads it', async () => {
    const archive = join(directory, 'proxy.tar');
    const layout = join(directory, 'layout');
    await mkdir(layout);
    const first = await build('proxy', '--tag', 'registry.example/kube-proxy:v1', '-o', archive, '--json');
    assert.equal(first.status, 0, first.stderr);
    const built = JSON.parse(first.stdout);
    const second = JSON.parse(
      (await build('proxy', '--tag', 'registry.example/kube-proxy:v1', '-o', layout, '--json')).stdout,
    );
    assert.deepEqual(second.layers, built.layers);
    assert.equal(second.id, built.id);
    assert.deepEqual(await readdir(directory), ['layout', 'proxy.tar']);
    const { manifests } = JSON.parse(await readFile(join(layout, 'index.json'), 'utf8'));
    assert.equal(manifests[0].digest, built.manifest.digest);

    const seen = JSON.parse(await output(['skopeo', 'inspect', `oci-archive:${archive}`]));
    assert.equal(seen.Digest, built.manifest.digest);
    assert.equal(seen.Labels['org.opencontainers.image.title'], 'kube-proxy');
    // Node alone has 43 MB; all the rest must stay small.
    const bytes = built.layers.map((one: any) => one.size as number);
    assert.ok(bytes.reduce((sum: number, one: number) => sum + one) < 60e6, `${bytes}`);
    assert.ok(bytes.at(-1) < 1e6, `the layer of the code has ${bytes.at(-1)} bytes`);
  });

  test('what cannot be made is said in one sentence, and leaves nothing behind', async () => {
    const cases: [string[], RegExp][] = [
      [['kubelet', '-o', join(directory, 'x')], /"kubelet": this component runs on the host.*made of: proxy/],
      [['proxi', '-o', join(directory, 'x')], /"proxi": there is no such component/],
      [['proxy', '-o', join(directory, 'no/x')], /\/no: there is no such directory/],
      [['proxy', '-o', directory], /is a directory with something in it/],
      [['proxy', '-o', join(directory, 'x'), '--tag', 'A b'], /"A b": is not the name of an image/],
      [['proxy', '--data-dir', join(directory, 'none')], /nothing runs with data directory/],
    ];
    for (const [argv, pattern] of cases) {
      const { status, stderr } = await build(...argv);
      assert.equal(status, 1, stderr);
      assert.match(stderr, pattern);
    }
    const small = join(directory, 'small');
    await mkdir(small);
    const script = `mount -t tmpfs -o size=20m small ${small} && { ${deckhand} image build proxy -o ${small}/x; ls -A ${small} >&2; }`;
    const full = await run(['unshare', '-m', 'sh', '-c', script]);
    assert.match(full.stderr, /^deckhand: .*small: no space left there[^\n]*\n$/);
  });
});
