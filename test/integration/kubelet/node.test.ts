/** The Node object of a kubelet: how it is registered, what it says, who may change what, and what happens when it goes. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { pollUntil } from '../../../src/async/index.ts';
import { Cluster } from '../../support/cluster.ts';

describe('the Node of a kubelet', () => {
  let cluster: Cluster;
  const node = () => cluster.get('node', 'node-1');
  const until = <T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> =>
    pollUntil(what, () => look().catch(() => undefined), { timeoutMs: 30_000, intervalMs: 100 }) as Promise<T>;
  const condition = (object: any, type: string) => object.status.conditions.find((one: any) => one.type === type);
  const patch = (body: object, ...more: string[]) =>
    cluster.kubectl(['patch', 'node', 'node-1', '--type=merge', '-p', JSON.stringify(body), ...more]);
  const events = async (): Promise<any[]> =>
    (await cluster.get('events', '-A', '--field-selector', 'involvedObject.kind=Node')).items;
  const told = (reason: string) =>
    until(`the event ${reason}`, async () =>
      (await events()).find((one) => one.reason === reason && one.source.component === 'kubelet'),
    );
  const restartKubelet = async (): Promise<void> => {
    const pid = await cluster.pidOf('kubelet');
    process.kill(pid, 'SIGKILL');
    await until('another kubelet', async () => (await cluster.pidOf('kubelet')) !== pid);
  };

  before(async () => {
    cluster = await Cluster.withKubelet(
      'knode',
      {
        nodeLeaseDurationSeconds: 4,
        nodeStatusUpdateFrequency: '1s',
        podsPerCore: 1,
        registerWithTaints: [{ key: 'example.com/first', value: 'a', effect: 'PreferNoSchedule' }],
        providerID: 'example://machine-1',
        kubeReserved: { cpu: '100m', memory: '64Mi' },
      },
      [
        ...['--place', 'kubelet=process', '--place', 'apiserver=process'],
        ...['--kubelet-arg', 'node-labels=example.com/own=a,node.kubernetes.io/instance-type=small'],
      ],
    );
  });
  after(() => cluster?.[Symbol.asyncDispose]());

  test('it says what the machine is: labels, addresses, capacity, conditions, the runtime and its handlers', async () => {
    const { metadata, spec, status } = await node();
    assert.equal(metadata.labels['kubernetes.io/hostname'], 'node-1');
    assert.equal(metadata.labels['example.com/own'], 'a');
    assert.equal(metadata.labels['node.kubernetes.io/instance-type'], 'small');
    assert.equal(metadata.annotations['volumes.kubernetes.io/controller-managed-attach-detach'], 'true');
    assert.equal(spec.providerID, 'example://machine-1');
    assert.ok(spec.taints.some(({ key }: any) => key === 'example.com/first'));
    assert.deepEqual(
      status.addresses.map(({ type }: any) => type),
      ['InternalIP', 'Hostname'],
    );
    assert.equal(Number(status.capacity.pods), Number(status.capacity.cpu), 'one pod for each processor');
    for (const resource of ['cpu', 'memory', 'ephemeral-storage', 'pods'])
      assert.ok(status.allocatable[resource], resource);
    assert.match(status.allocatable.cpu, /900m$/);
    assert.deepEqual(
      ['MemoryPressure', 'DiskPressure', 'PIDPressure', 'Ready'].map((type) => condition({ status }, type).reason),
      ['KubeletHasSufficientMemory', 'KubeletHasNoDiskPressure', 'KubeletHasSufficientPID', 'KubeletReady'],
    );
    assert.equal(condition({ status }, 'Ready').message, 'kubelet is posting ready status');
    assert.match(status.nodeInfo.kubeletVersion, /^v1\.36\./);
    assert.match(status.nodeInfo.containerRuntimeVersion, /^deckhand:\/\//);
    for (const fact of ['architecture', 'bootID', 'kernelVersion', 'operatingSystem', 'osImage'])
      assert.ok(status.nodeInfo[fact], fact);
    assert.equal(status.daemonEndpoints.kubeletEndpoint.Port, 10250);
    assert.ok(status.declaredFeatures.includes('ExtendWebSocketsToKubelet'));
    assert.ok(Array.isArray(status.runtimeHandlers));
  });

  test('its start and its readiness are told as events', async () => {
    for (const reason of ['Starting', 'NodeReady', 'NodeHasSufficientMemory']) {
      const event = await told(reason);
      assert.equal(event.involvedObject.name, 'node-1', reason);
    }
  });

  test('its lease is renewed and belongs to it', async () => {
    const lease = () => cluster.get('lease', 'node-1', '-n', 'kube-node-lease');
    const { spec, metadata } = await lease();
    assert.equal(spec.holderIdentity, 'node-1');
    assert.equal(spec.leaseDurationSeconds, 4);
    assert.equal(metadata.ownerReferences[0].uid, (await node()).metadata.uid);
    await until('a renewal', async () => (await lease()).spec.renewTime > spec.renewTime);
  });

  test('a cordon is told, and what an administrator puts on it stays', async () => {
    await cluster.kubectl(['cordon', 'node-1']);
    await told('NodeNotSchedulable');
    await cluster.kubectl(['uncordon', 'node-1']);
    await told('NodeSchedulable');
    await patch({ status: { capacity: { 'example.com/dongle': '3' } } }, '--subresource=status');
    await until('the dongles can be had', async () => (await node()).status.allocatable['example.com/dongle'] === '3');
  });

  test('after a restart labels of the machine are put right, others stay, and the taints of the registration do not come back', async () => {
    const { uid } = (await node()).metadata;
    await patch({
      metadata: { labels: { 'kubernetes.io/os': 'plan9', 'example.com/own': 'b', 'example.com/more': 'c' } },
    });
    await cluster.kubectl(['taint', 'node', 'node-1', 'example.com/first-']);
    await restartKubelet();
    const { metadata, spec } = await until('the label', async () => {
      const now = await node();
      return now.metadata.labels['kubernetes.io/os'] === 'linux' && now;
    });
    assert.equal(metadata.uid, uid);
    assert.deepEqual([metadata.labels['example.com/own'], metadata.labels['example.com/more']], ['b', 'c']);
    assert.ok(!spec.taints?.some(({ key }: any) => key === 'example.com/first'));
  });

  test('a Node that is deleted is registered again, with a lease of its own', async () => {
    const { uid } = (await node()).metadata;
    await cluster.kubectl(['delete', 'node', 'node-1']);
    const again = await until('another Node', async () => {
      const now = await node();
      return now.metadata.uid !== uid && condition(now, 'Ready')?.status === 'True' && now;
    });
    assert.equal(again.metadata.labels['example.com/own'], 'a');
    await until('a lease of the new Node', async () => {
      const { metadata } = await cluster.get('lease', 'node-1', '-n', 'kube-node-lease');
      return metadata.ownerReferences[0].uid === again.metadata.uid;
    });
  });

  test('an API server that was away finds the node Ready, without a change of the condition', async () => {
    const before = condition(await node(), 'Ready').lastTransitionTime;
    process.kill(await cluster.pidOf('apiserver'), 'SIGKILL');
    const lease = () => cluster.get('lease', 'node-1', '-n', 'kube-node-lease');
    const { renewTime } = (await until('the API server', lease)).spec;
    await until('a sign of life', async () => (await lease()).spec.renewTime > renewTime);
    const ready = condition(await node(), 'Ready');
    assert.deepEqual([ready.status, ready.lastTransitionTime], ['True', before]);
  });
});
