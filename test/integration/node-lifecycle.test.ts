/** A node that falls silent, its pods, and its return; with our API server in one process. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Pod, resources } from '../../src/api/index.ts';
import { pollUntil, systemClock } from '../../src/async/index.ts';
import { createClient, isNotFound } from '../../src/client/index.ts';
import { startControllers } from '../../src/controlplane/index.ts';
import { startTestApiServer, testLogger } from '../support/apiserver.ts';

test('a silent node turns Unknown, is tainted, and loses the pods that do not tolerate it', async (t) => {
  const server = await startTestApiServer();
  const client = createClient({ server: server.url, ca: server.ca });
  const context = { log: testLogger(), clock: systemClock };
  const controllers = startControllers({ client, only: ['nodelifecycle', 'podgc'], nodeMonitorGraceMs: 400 }, context);
  t.after(async () => {
    await controllers.stop();
    client.close();
    await server.stop();
  });
  await controllers.ready;
  const beat = async () => {
    const now = new Date(systemClock.now()).toISOString();
    const conditions = [
      { type: 'Ready', status: 'True', reason: 'KubeletReady', lastHeartbeatTime: now, lastTransitionTime: now },
    ];
    await client.patch(resources.nodes, 'n', { status: { conditions } }, { type: 'strategic', subresource: 'status' });
  };
  await client.create(resources.nodes, { metadata: { name: 'n' }, spec: {} } as never);
  await beat();
  const makePod = (name: string, tolerations: Pod['spec']['tolerations']) =>
    client.create(resources.pods, {
      metadata: { name, namespace: 'default' },
      spec: { nodeName: 'n', containers: [{ name: 'c', image: 'i' }], ...(tolerations ? { tolerations } : {}) },
    });
  await makePod('fragile', undefined);
  await makePod('sturdy', [{ operator: 'Exists' }]);
  await makePod('patient', [
    { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 },
  ]);
  const taintsOf = async () =>
    (await client.get(resources.nodes, 'n')).spec?.taints?.map(({ key, effect }) => `${key}:${effect}`) ?? [];
  await pollUntil('taints', async () => (await taintsOf()).includes('node.kubernetes.io/unreachable:NoExecute'), {
    timeoutMs: 5_000,
  });
  const ready = (await client.get(resources.nodes, 'n')).status?.conditions?.find(({ type }) => type === 'Ready');
  assert.equal(ready?.status, 'Unknown');
  assert.equal(ready?.message, 'Kubelet stopped posting node status.');
  await pollUntil(
    'eviction',
    () =>
      client
        .get(resources.pods, 'fragile', { namespace: 'default' })
        .then(({ metadata }) => Boolean(metadata.deletionTimestamp), isNotFound),
    { timeoutMs: 5_000 },
  );
  for (const name of ['sturdy', 'patient']) {
    const pod = await client.get(resources.pods, name, { namespace: 'default' });
    assert.equal(pod.metadata.deletionTimestamp, undefined, name);
  }
  await beat();
  await pollUntil('no taints', async () => (await taintsOf()).length === 0, { timeoutMs: 300, intervalMs: 5 });
});
