/** A kubelet's own configuration below `deckhand up`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster } from '../../support/cluster.ts';

test('up lays a KubeletConfiguration over the node’s own, and gives the kubelet options', async () => {
  const fields = { maxPods: 7, localStorageCapacityIsolation: false };
  // Any cgroup that is there will do for the runtime's own.
  const options = ['--kubelet-arg', 'node-labels=a=b', '--kubelet-arg', 'runtime-cgroups=/'];
  await using cluster = await Cluster.withKubelet('kconfigured', fields, options);
  const node = await cluster.get('node', 'node-1');
  assert.equal(node.status.capacity.pods, '7');
  assert.equal(node.status.capacity['ephemeral-storage'], undefined);
  assert.equal(node.metadata.labels.a, 'b');
  const summary = JSON.parse(await cluster.kubectl(['get', '--raw', '/api/v1/nodes/node-1/proxy/stats/summary']));
  const runtime = summary.node.systemContainers.find((one: { name: string }) => one.name === 'runtime');
  assert.ok(runtime?.memory.usageBytes > 0, JSON.stringify(runtime));
});

test('a file of --kubelet-config that is not there, or says what no kubelet knows, is an error that names it', async () => {
  await using cluster = await Cluster.create('kmisconfigured');
  await assert.rejects(cluster.up(['--kubelet-config', '/nowhere/k.yaml']), /--kubelet-config \/nowhere\/k\.yaml/);
  await assert.rejects(cluster.up(await cluster.kubeletConfig({ maxPodz: 7 })), /maxPodz: unknown field/);
});
