/** CSI volumes through the hard moments: killed kubelets, drivers that die, nodes that do not answer. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pollUntil } from '../../../src/async/index.ts';
import { isMountPoint } from '../../../src/host/mounts/index.ts';
import { Cluster } from '../../support/cluster.ts';
import { CsiDriver } from '../../support/csi/csi-driver.ts';
import { apply, boundClaim, csiDriverObject, podWithVolumes } from '../../support/csi/csi-objects.ts';
import { CsiSidecars } from '../../support/csi/csi-sidecars.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';

const until = (what: string, attempt: () => Promise<boolean> | boolean) =>
  pollUntil(what, attempt, { timeoutMs: 60_000, intervalMs: 100 });

describe('CSI volumes in hard moments', () => {
  let cluster: Cluster;
  let registry: DemoRegistry;
  let image: string;
  let root: string;
  let driver: CsiDriver;
  let sidecars: CsiSidecars;

  const claim = (name: string) => ({ persistentVolumeClaim: { claimName: name } });
  const ready = (pod: string) => cluster.kubectl(['wait', '--for=condition=Ready', `pod/${pod}`, '--timeout=50s']);
  const uidOf = async (pod: string) => (await cluster.get('pod', pod)).metadata.uid as string;
  const told = (pod: string, pattern: RegExp) =>
    until(`an event of ${pod} that says ${pattern}`, async () => {
      const { items } = await cluster.get('events', '--field-selector', `involvedObject.name=${pod}`);
      return items.some(({ reason, message }: any) => pattern.test(`${reason}: ${message}`));
    });
  const attachmentsOf = async (volume: string): Promise<any[]> =>
    (await cluster.get('volumeattachments')).items.filter(
      ({ spec }: any) => spec.source.persistentVolumeName === volume,
    );
  const attachedTo = async (node: string): Promise<string[]> =>
    ((await cluster.get('node', node)).status.volumesAttached ?? []).map(({ name }: any) => name);
  const target = (uid: string, volume: string) => join(root, 'pods', uid, 'volumes/kubernetes.io~csi', volume, 'mount');

  before(async () => {
    cluster = await Cluster.start('csis', ['--place', 'kubelet=process']);
    root = join(cluster.dataDirectory, 'kubelet');
    registry = await DemoRegistry.start(cluster.namespace);
    image = registry.image('v1');
    driver = new CsiDriver({ name: 'disk.csi.test', directory: join(cluster.dataDirectory, 'disk') });
    await driver.start();
    await apply(cluster, csiDriverObject(driver, {}));
    await driver.register(root);
    sidecars = await CsiSidecars.start(cluster, driver);
  });
  after(async () => {
    sidecars?.[Symbol.dispose]();
    await registry?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
    await driver?.[Symbol.asyncDispose]();
  });

  it('a kubelet that is killed leaves volumes as they are, and takes away after its return what went meanwhile', async () => {
    for (const name of ['stays', 'goes']) {
      await boundClaim(cluster, driver, name);
      await apply(cluster, podWithVolumes(name, image, { data: claim(name) }));
    }
    await Promise.all([ready('stays'), ready('goes')]);
    const [stays, goes] = [await uidOf('stays'), await uidOf('goes')];
    const before = await cluster.pidOf('kubelet');
    process.kill(before, 'SIGKILL');
    // Forced: the pod is out of the API before the kubelet is back.
    await cluster.kubectl(['delete', 'pod', 'goes', '--grace-period=0', '--force', '--timeout=30s']);
    await until('another kubelet', async () => (await cluster.pidOf('kubelet')) !== before);
    await until('what went is unpublished', () => driver.history('goes').includes('NodeUnpublishVolume'));
    await until('and unstaged', () => driver.history('goes').includes('NodeUnstageVolume'));
    await until('and detached', async () => (await attachmentsOf('goes')).length === 0);
    await until('its directory gone', () => !existsSync(join(root, 'pods', goes)));
    assert.ok(isMountPoint(target(stays, 'stays')));
    assert.equal(driver.history('stays').includes('NodeUnpublishVolume'), false);
    assert.equal((await cluster.get('pod', 'stays')).status.containerStatuses[0].restartCount, 0);
    assert.ok(
      (await cluster.get('node', 'node-1')).status.volumesInUse.includes('kubernetes.io/csi/disk.csi.test^stays'),
    );
    await cluster.kubectl(['delete', 'pod', 'stays', '--timeout=50s']);
    await until('the other one detached too', async () => (await attachmentsOf('stays')).length === 0);
    assert.equal(existsSync(join(root, 'pods', stays)), false);
  });

  it('a driver that is away holds a pod that ends, and lets it go when it is back', async () => {
    await boundClaim(cluster, driver, 'held');
    await apply(cluster, podWithVolumes('held', image, { data: claim('held') }));
    await ready('held');
    const uid = await uidOf('held');
    await driver.stop();
    await cluster.kubectl(['delete', 'pod', 'held', '--wait=false']);
    await until('the container gone', async () => {
      const pod = await cluster.get('pod', 'held');
      return Boolean(pod.status.containerStatuses?.[0].state.terminated);
    });
    assert.ok(isMountPoint(target(uid, 'held')));
    await driver.start();
    await until('the pod gone', async () => (await cluster.tryKubectl(['get', 'pod', 'held'])).status !== 0);
    await until('unstaged', () => driver.history('held').includes('NodeUnstageVolume'));
    assert.equal(isMountPoint(target(uid, 'held')), false);
  });

  it('a volume that was staged for a pod that is gone is unstaged', async () => {
    await boundClaim(cluster, driver, 'orphan');
    await apply(cluster, podWithVolumes('orphan', image, { data: claim('orphan') }));
    await ready('orphan');
    const [{ stagingTargetPath }] = driver.requests('NodeStageVolume', 'orphan');
    const kept = JSON.parse(await readFile(join(stagingTargetPath, '../vol_data.json'), 'utf8'));
    assert.deepEqual(kept, { volumeHandle: 'orphan', driverName: 'disk.csi.test' });
    await cluster.kubectl(['delete', 'pod', 'orphan', '--timeout=50s']);
    await until('unstaged', () => !existsSync(stagingTargetPath));
  });

  it('a node gets no more volumes of a driver than it has said that it can have', async () => {
    await using few = new CsiDriver({
      name: 'few.csi.test',
      directory: join(cluster.dataDirectory, 'few'),
      maximumVolumes: 1,
    });
    await few.start();
    await apply(cluster, csiDriverObject(few, { attachRequired: false }));
    await few.register(root);
    await until('the limit', async () =>
      (await cluster.get('csinode', 'node-1')).spec.drivers.some(({ name }: any) => name === few.name),
    );
    for (const name of ['fits', 'waits']) {
      await boundClaim(cluster, few, name);
      await apply(cluster, podWithVolumes(name, image, { data: claim(name) }));
      if (name === 'fits') await ready(name);
    }
    await told('waits', /^FailedScheduling: .*node\(s\) exceed max volume count/);
    await cluster.kubectl(['delete', 'pod', 'fits', '--timeout=50s']);
    await ready('waits');
    await cluster.kubectl(['delete', 'pod', 'waits', '--timeout=50s']);
    await until('nothing staged', () => few.history('waits').includes('NodeUnstageVolume'));
    await few.unregister();
  });

  describe('with a second node', () => {
    /** A node without a kubelet, as the API sees it. */
    const fakeNode = async (name: string, ready: boolean, inUse: string[] = []): Promise<void> => {
      await apply(cluster, { apiVersion: 'v1', kind: 'Node', metadata: { name } });
      const condition = { type: 'Ready', status: ready ? 'True' : 'Unknown', reason: 'Test', message: '' };
      const status = JSON.stringify({ status: { conditions: [condition], volumesInUse: inUse } });
      await cluster.kubectl(['patch', 'node', name, '--subresource=status', '--type=merge', '-p', status]);
    };
    const csiNode = (name: string) => ({
      apiVersion: 'storage.k8s.io/v1',
      kind: 'CSINode',
      metadata: { name },
      spec: { drivers: [{ name: driver.name, nodeID: `csi-${name}` }] },
    });
    const bound = (name: string, volume: string, nodeName: string) =>
      podWithVolumes(
        name,
        image,
        { data: claim(volume) },
        { spec: { nodeName, tolerations: [{ operator: 'Exists' }] } },
      );

    it('a volume for one node is not given to another while the first has it, and the user is told who has it', async () => {
      await fakeNode('node-2', true);
      await apply(cluster, csiNode('node-2'));
      await boundClaim(cluster, driver, 'single');
      await apply(cluster, bound('first', 'single', 'node-1'));
      await ready('first');
      await apply(cluster, bound('second', 'single', 'node-2'));
      await told(
        'second',
        /^FailedAttachVolume: Multi-Attach error for volume "single" Volume is already used by pod\(s\) first/,
      );
      assert.equal((await attachmentsOf('single')).length, 1);
      await cluster.kubectl(['delete', 'pod', 'first', '--timeout=50s']);
      await until('the volume at the second node', async () =>
        (await attachedTo('node-2')).includes('kubernetes.io/csi/disk.csi.test^single'),
      );
      const calls = driver.calls
        .filter(({ request }) => request.volumeId === 'single')
        .map(({ method, request }) => `${method} ${request.nodeId ?? ''}`);
      assert.ok(
        calls.indexOf('ControllerUnpublishVolume csi-node-1') < calls.indexOf('ControllerPublishVolume csi-node-2'),
      );
      assert.ok(calls.indexOf('NodeUnstageVolume ') < calls.indexOf('ControllerUnpublishVolume csi-node-1'));
    });

    it('an attacher that fails is told at the pod', async () => {
      await boundClaim(cluster, driver, 'unattachable');
      driver.before('ControllerPublishVolume', ({ volumeId }) => {
        if (volumeId === 'unattachable') throw new Error('out of slots');
      });
      await apply(cluster, bound('unattachable', 'unattachable', 'node-1'));
      await told(
        'unattachable',
        /^FailedAttachVolume: AttachVolume.Attach failed for volume "unattachable" : .*out of slots/,
      );
      driver.before('ControllerPublishVolume', undefined);
      await ready('unattachable');
    });

    it('a volume is not taken from a node that says it is in use, and is from one that is out of service', async () => {
      const unique = 'kubernetes.io/csi/disk.csi.test^lost';
      await fakeNode('node-3', true, [unique]);
      await apply(cluster, csiNode('node-3'));
      await boundClaim(cluster, driver, 'lost');
      await apply(cluster, bound('lost', 'lost', 'node-3'));
      await until('attached', async () => (await attachedTo('node-3')).includes(unique));
      await cluster.kubectl(['delete', 'pod', 'lost', '--grace-period=0', '--force', '--timeout=30s']);
      await apply(cluster, bound('found', 'lost', 'node-1'));
      await told('found', /^FailedAttachVolume: Multi-Attach error for volume "lost"/);
      assert.ok((await attachedTo('node-3')).includes(unique));
      await cluster.kubectl(['taint', 'node', 'node-3', 'node.kubernetes.io/out-of-service=gone:NoExecute']);
      await ready('found');
      assert.equal((await attachedTo('node-3')).includes(unique), false);
    });
  });

  it('a Node that is made anew has a CSINode of its own, with the drivers', async () => {
    const before = (await cluster.get('node', 'node-1')).metadata.uid;
    await cluster.kubectl(['delete', 'node', 'node-1', '--timeout=30s']);
    await until('another Node', async () => {
      const found = await cluster.tryKubectl(['get', 'node', 'node-1', '-o', 'jsonpath={.metadata.uid}']);
      return found.status === 0 && found.stdout !== before;
    });
    await until('its CSINode', async () => {
      const { metadata } = await cluster.get('node', 'node-1');
      const found = await cluster.tryKubectl(['get', 'csinode', 'node-1', '-o', 'json']);
      if (found.status !== 0) return false;
      const csiNode = JSON.parse(found.stdout);
      return (
        csiNode.metadata.ownerReferences[0].uid === metadata.uid &&
        csiNode.spec.drivers.some(({ name }: any) => name === driver.name) &&
        metadata.annotations['csi.volume.kubernetes.io/nodeid']?.includes(driver.name)
      );
    });
  });
});
