import assert from 'node:assert/strict';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Pod } from '../../api/index.ts';
import { pollUntil, systemClock } from '../../async/index.ts';
import { createLogger } from '../../log/index.ts';
import { FileSource } from './file-source.ts';
import { parseStaticPods } from './static-pod.ts';

const options = { nodeName: 'Node-1', file: '/m/a.yaml', source: 'file' as const };
const manifest = (name: string, more = '') => `apiVersion: v1
kind: Pod
metadata: {name: ${name}}
spec:
  containers: [{name: c, image: 'example.test/app'}]
${more}`;

describe('parseStaticPods', () => {
  it('makes a pod of this node with the defaults of the API', () => {
    const [pod] = parseStaticPods(manifest('a'), options);
    assert.equal(pod!.metadata.name, 'a-node-1');
    assert.equal(pod!.metadata.namespace, 'default');
    assert.match(pod!.metadata.uid, /^[0-9a-f]{32}$/);
    assert.equal(pod!.metadata.annotations?.['kubernetes.io/config.source'], 'file');
    assert.equal(pod!.metadata.annotations?.['kubernetes.io/config.hash'], pod!.metadata.uid);
    assert.equal(pod!.spec.containers[0]!.imagePullPolicy, 'Always');
    assert.deepEqual(pod!.spec.tolerations, [{ operator: 'Exists', effect: 'NoExecute' }]);
    assert.equal(pod!.spec.nodeName, 'Node-1');
  });

  it('reads JSON, several documents and lists', () => {
    const json = JSON.stringify({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'j' },
      spec: { containers: [{ name: 'c', image: 'i:1' }] },
    });
    assert.equal(parseStaticPods(json, options)[0]!.metadata.name, 'j-node-1');
    assert.equal(parseStaticPods(`${manifest('a')}---\n${manifest('b')}`, options).length, 2);
  });

  it('gives the same uid for the same content in any order, and another for another', () => {
    const uid = (text: string) => parseStaticPods(text, options)[0]!.metadata.uid;
    const swapped =
      'kind: Pod\napiVersion: v1\nspec:\n  containers: [{image: example.test/app, name: c}]\nmetadata: {name: a}\n';
    assert.equal(uid(manifest('a')), uid(swapped));
    assert.notEqual(uid(manifest('a')), uid(manifest('a', '  hostNetwork: true\n')));
  });

  it('says which field is wrong', () => {
    const cases: [string, RegExp][] = [
      [manifest('a').replace('kind: Pod', 'kind: Deployment'), /^kind: must be Pod/],
      [manifest('A_B'), /^metadata\.name: /],
      [manifest('a', '  containerss: []\n'), /^spec\.containerss: unknown field/],
      [manifest('a', '  hostNetwork: "yes"\n'), /hostNetwork|boolean/],
      [manifest('a', '  serviceAccountName: x\n'), /^spec\.serviceAccountName: a static pod may not refer/],
      [
        manifest('a', '  volumes: [{name: v, configMap: {name: x}}]\n'),
        /^spec\.volumes\[v\]: a static pod may not refer/,
      ],
      ['apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: []}', /^spec\.containers: at least one/],
      ['a: [1, 2', /^\/m\/a\.yaml: /],
    ];
    for (const [text, message] of cases) assert.throws(() => parseStaticPods(text, options), { message }, text);
  });
});

describe('FileSource', () => {
  it('follows a directory: new, changed, bad and removed files', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'deckhand-manifests-'));
    const problems: unknown[] = [];
    const log = createLogger('test', (_level, _component, _message, fields) => problems.push(fields['problem']));
    let pods: Pod[] = [];
    const source = new FileSource({
      path: directory,
      nodeName: 'n',
      rescanMs: 60_000,
      clock: systemClock,
      log,
      onPods: (now) => (pods = now),
    });
    const names = () =>
      pods
        .map(({ metadata }) => metadata.name)
        .sort()
        .join();
    const until = (wanted: string) => pollUntil(`pods ${wanted}`, () => names() === wanted, { timeoutMs: 5000 });
    try {
      await writeFile(join(directory, 'a.yaml'), manifest('a'));
      await source.start();
      assert.equal(names(), 'a-n');
      await writeFile(join(directory, '.hidden.yaml'), manifest('hidden'));
      await writeFile(join(directory, 'b.new'), manifest('b'));
      await until('a-n,b-n');
      const before = pods.find(({ metadata }) => metadata.name === 'a-n')!.metadata.uid;
      await writeFile(join(directory, 'x.tmp'), manifest('a', '  hostNetwork: true\n'));
      await rename(join(directory, 'x.tmp'), join(directory, 'a.yaml'));
      await pollUntil(
        'a changed',
        () => pods.some(({ metadata }) => metadata.name === 'a-n' && metadata.uid !== before),
        { timeoutMs: 5000 },
      );
      await writeFile(join(directory, 'a.yaml'), 'kind: nonsense');
      await pollUntil('the problem', () => problems.some((one) => String(one).startsWith('kind: must be Pod')), {
        timeoutMs: 5000,
      });
      assert.equal(names(), 'a-n,b-n', 'a bad manifest ends nothing');
      await rm(join(directory, 'b.new'));
      await until('a-n');
    } finally {
      source.stop();
      await rm(directory, { recursive: true });
    }
  });
});
