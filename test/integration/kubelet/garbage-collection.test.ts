/** Garbage on a whole node: images that nobody uses, containers and logs that nobody needs. */
import assert from 'node:assert/strict';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Pod } from '../../../src/api/index.ts';
import { pollUntil } from '../../../src/async/index.ts';
import { Cluster } from '../../support/cluster.ts';
import { FaultyRegistry } from '../../support/faulty-registry.ts';

describe('garbage collection', () => {
  let cluster: Cluster;
  let registry: FaultyRegistry;

  before(async () => {
    const fields = { imageMinimumGCAge: '0s', imageMaximumGCAge: '3s' };
    cluster = await Cluster.withKubelet('kgarbage', fields);
    registry = await FaultyRegistry.start(cluster.namespace);
  });
  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  const apply = (name: string, image: string, spec: object = {}) =>
    cluster.kubectl(['apply', '-f', '-'], {
      input: JSON.stringify({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name },
        spec: { terminationGracePeriodSeconds: 0, containers: [{ name: 'main', image }], ...spec },
      }),
    });
  const until = <T>(what: string, probe: () => Promise<T | undefined | false>) =>
    pollUntil(what, probe, { timeoutMs: 40_000, intervalMs: 200 });
  const running = (name: string) =>
    until(`${name} running`, async () => {
      const pod = (await cluster.get('pod', name)) as Pod;
      return pod.status?.containerStatuses?.[0]?.state?.running !== undefined;
    });
  const images = async () => (await cluster.deckhand(['image', 'ls', '--data-dir', cluster.dataDirectory])).stdout;

  test('an image that no pod uses goes after its time; one that is used, or mounted, stays', async () => {
    await apply('user', registry.image('good'));
    await apply('once', registry.image('again'));
    await apply('mounter', registry.image('good'), {
      volumes: [{ name: 'image', image: { reference: registry.image('private') } }],
      containers: [
        { name: 'main', image: registry.image('good'), volumeMounts: [{ name: 'image', mountPath: '/image' }] },
      ],
    });
    for (const name of ['user', 'once', 'mounter']) await running(name);
    await cluster.kubectl(['delete', 'pod', 'once', '--wait=true']);
    await until('again gone', async () => !(await images()).includes('test/again'));
    const left = await images();
    assert.ok(left.includes('test/good'), left);
    assert.ok(left.includes('test/private'), left);
    const metrics = await cluster.kubectl(['get', '--raw', '/api/v1/nodes/node-1/proxy/metrics']);
    assert.match(metrics, /kubelet_image_garbage_collected_total\{reason="age"\} [1-9]/);
    await until('record gone', async () => {
      const records = await readdir(join(cluster.dataDirectory, 'kubelet/image_manager/pulled'));
      return records.length === 2;
    });
  });

  test('logs of a pod that nobody knows go, those of others stay', async () => {
    const logs = join(cluster.dataDirectory, 'logs/pods');
    const orphan = join(logs, 'default_gone_00000000-0000-0000-0000-000000000000');
    await mkdir(orphan, { recursive: true });
    await writeFile(join(orphan, 'x.log'), 'x');
    process.kill(await cluster.pidOf('kubelet'), 'SIGKILL');
    await until('orphaned log gone', async () => !(await readdir(logs)).some((name) => name.includes('_gone_')));
    assert.ok((await readdir(logs)).some((name) => name.startsWith('default_user_')));
  });
});
