/** A kubelet's own configuration below `deckhand up`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster } from '../../support/cluster.ts';

test('up lays a KubeletConfiguration over the node’s own, and gives the kubelet options', async () => {
  const fields = { maxPods: 7, localStorageCapacityIsolation: false };
  await using cluster = await Cluster.withKubelet('kconfigured', fields, ['--kubelet-arg', 'node-labels=a=b']);
  const node = await cluster.get('node', 'node-1');
  assert.equal(node.status.capacity.pods, '7');
  assert.equal(node.status.capacity['ephemeral-storage'], undefined);
  assert.equal(node.metadata.labels.a, 'b');
});

test('a file of --kubelet-config that is not there, or says what no kubelet knows, is an error that names it', async () => {
  await using cluster = await Cluster.create('kmisconfigured');
  await assert.rejects(cluster.up(['--kubelet-config', '/nowhere/k.yaml']), /--kubelet-config \/nowhere\/k\.yaml/);
  await assert.rejects(cluster.up(await cluster.kubeletConfig({ maxPodz: 7 })), /maxPodz: unknown field/);
});
