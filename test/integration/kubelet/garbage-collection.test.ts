/** Garbage on a whole node: images that nobody uses, containers and logs that nobody needs. */
import assert from 'node:assert/strict';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ImageService } from '../../../src/api/cri/index.ts';
import type { Pod } from '../../../src/api/index.ts';
import { pollUntil } from '../../../src/async/index.ts';
import { createGrpcClient } from '../../../src/wire/grpc/index.ts';
import type { Cluster } from '../../support/cluster.ts';
import { FaultyRegistry } from '../../support/faulty-registry.ts';
import { SuiteNode } from '../../support/suite-node.ts';

describe('garbage collection', () => {
  let node: SuiteNode;
  let cluster: Cluster;
  let registry: FaultyRegistry;

  before(async () => {
    const fields = { imageMinimumGCAge: '0s', imageMaximumGCAge: '3s' };
    node = await SuiteNode.start('kgarbage', () => fields);
    cluster = node.cluster;
    registry = await FaultyRegistry.start(cluster.namespace);
  });
  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    await node?.[Symbol.asyncDispose]();
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
  const images = async () => {
    const client = createGrpcClient(ImageService, node.endpoint);
    const { images: list } = await client.listImages({}).finally(() => client.close());
    return list.flatMap(({ repoTags }) => repoTags).join(' ');
  };

  test('an image that no pod uses goes after its time; one that is used, or mounted, stays', async () => {
    await apply('user', registry.image('good'));
    await apply('once', registry.image('again'));
    // Older runtimes mount no images.
    const mounts = node.runtimeName === 'deckhand';
    await apply('mounter', registry.image('good'), {
      ...(mounts ? { volumes: [{ name: 'image', image: { reference: registry.image('private') } }] } : {}),
      containers: [
        {
          ...{ name: 'main', image: registry.image('good') },
          ...(mounts ? { volumeMounts: [{ name: 'image', mountPath: '/image' }] } : {}),
        },
      ],
    });
    for (const name of ['user', 'once', 'mounter']) await running(name);
    await cluster.kubectl(['delete', 'pod', 'once', '--wait=true']);
    await until('again gone', async () => !(await images()).includes('test/again'));
    const left = await images();
    assert.ok(left.includes('test/good'), left);
    assert.equal(left.includes('test/private'), mounts, left);
    const metrics = await cluster.kubectl(['get', '--raw', '/api/v1/nodes/node-1/proxy/metrics']);
    assert.match(metrics, /kubelet_image_garbage_collected_total\{reason="age"\} [1-9]/);
    await until('record gone', async () => {
      const records = await readdir(join(cluster.dataDirectory, 'kubelet/image_manager/pulled'));
      return records.length === (mounts ? 2 : 1);
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
    await cluster.kubectl(['delete', 'pod', '--all', '--wait=true']);
  });
});
