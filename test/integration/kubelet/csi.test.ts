/** Volumes of CSI drivers: our own driver (test/support/csi) on a whole cluster with our own sidecars. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pollUntil } from '../../../src/async/index.ts';
import { GrpcError } from '../../../src/wire/grpc/index.ts';
import { Cluster } from '../../support/cluster.ts';
import { CsiDriver } from '../../support/csi/csi-driver.ts';
import { apply, boundClaim, csiDriverObject, podWithVolumes } from '../../support/csi/csi-objects.ts';
import { CsiSidecars } from '../../support/csi/csi-sidecars.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';

const until = (what: string, attempt: () => Promise<boolean> | boolean) =>
  pollUntil(what, attempt, { timeoutMs: 60_000, intervalMs: 100 });

describe('volumes of CSI drivers', { concurrency: 8 }, () => {
  let cluster: Cluster;
  let registry: DemoRegistry;
  let image: string;
  let root: string;
  /** Attached by a controller, staged. */
  let driver: CsiDriver;
  let sidecars: CsiSidecars;
  const drivers: CsiDriver[] = [];

  const makeDriver = async (name: string, options: Partial<CsiDriver['options']> = {}): Promise<CsiDriver> => {
    const made = new CsiDriver({ name, directory: join(cluster.dataDirectory, name), ...options });
    drivers.push(made);
    await made.start();
    return made;
  };
  const claim = (name: string) => ({ persistentVolumeClaim: { claimName: name } });
  const exec = (pod: string, ...command: string[]) => cluster.kubectl(['exec', pod, '--', ...command]);
  /** Waits until a pod is Ready; when it is not in time, says what is known of it. */
  const ready = async (pod: string): Promise<void> => {
    const waited = await cluster.tryKubectl(['wait', '--for=condition=Ready', `pod/${pod}`, '--timeout=50s']);
    if (waited.status === 0) return;
    const events = (await eventsOf(pod)).join('\n');
    const calls = drivers.flatMap((one) =>
      one.calls.map(({ method, request }) => `${method} ${request.volumeId ?? ''}`),
    );
    throw new Error(
      [`${pod} is not Ready`, events, calls.join('\n'), sidecars.complaints, await cluster.logs()].join('\n\n'),
    );
  };
  const remove = (pod: string) => cluster.kubectl(['delete', 'pod', pod, '--timeout=60s']);
  const uidOf = async (pod: string) => (await cluster.get('pod', pod)).metadata.uid as string;
  const eventsOf = async (pod: string): Promise<string[]> =>
    (await cluster.get('events', '--field-selector', `involvedObject.name=${pod}`)).items.map(
      ({ reason, message }: any) => `${reason}: ${message}`,
    );
  const eventually = (pod: string, pattern: RegExp) =>
    until(`an event of ${pod} that says ${pattern}`, async () =>
      (await eventsOf(pod)).some((one) => pattern.test(one)),
    );

  before(async () => {
    cluster = await Cluster.start('csi', ['--place', 'kubelet=process']);
    root = join(cluster.dataDirectory, 'kubelet');
    registry = await DemoRegistry.start(cluster.namespace);
    image = registry.image('v1');
    driver = await makeDriver('disk.csi.test', {
      maximumVolumes: 20,
      topology: { 'topology.disk.csi.test/node': 'a' },
    });
    await apply(cluster, csiDriverObject(driver, { attachRequired: true, podInfoOnMount: false }));
    await driver.register(root);
    sidecars = await CsiSidecars.start(cluster, driver);
  });
  after(async () => {
    sidecars?.[Symbol.dispose]();
    await registry?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
    for (const one of drivers) await one[Symbol.asyncDispose]();
  });

  it('a driver that registers is in the CSINode, and its topology and node id in the Node', async () => {
    await until(
      'the driver in the CSINode',
      async () => (await cluster.get('csinode', 'node-1')).spec.drivers.length > 0,
    );
    const { metadata, spec } = await cluster.get('csinode', 'node-1');
    assert.deepEqual(
      spec.drivers.find(({ name }: any) => name === driver.name),
      {
        name: 'disk.csi.test',
        nodeID: 'csi-node-1',
        topologyKeys: ['topology.disk.csi.test/node'],
        allocatable: { count: 20 },
      },
    );
    const node = await cluster.get('node', 'node-1');
    assert.equal(metadata.ownerReferences[0].uid, node.metadata.uid);
    assert.equal(node.metadata.labels['topology.disk.csi.test/node'], 'a');
    assert.equal(
      JSON.parse(node.metadata.annotations['csi.volume.kubernetes.io/nodeid'])['disk.csi.test'],
      'csi-node-1',
    );
    assert.deepEqual(driver.registrations, [{ registered: true, error: '' }]);
  });

  it('a volume is attached, staged and published, and taken away in the opposite order', async () => {
    await boundClaim(cluster, driver, 'whole', {
      fsType: 'ext4',
      mountOptions: ['noatime'],
      attributes: { kind: 'fast' },
    });
    await apply(cluster, podWithVolumes('whole', image, { data: claim('whole') }));
    await ready('whole');
    assert.equal(await exec('whole', 'cat', '/mnt/data/hello'), 'whole');
    await exec('whole', 'sh', '-c', 'echo kept > /mnt/data/written');
    assert.equal(await readFile(join(driver.dataPath('whole'), 'written'), 'utf8'), 'kept\n');
    const uid = await uidOf('whole');
    const [stage] = driver.requests('NodeStageVolume', 'whole');
    const [publish] = driver.requests('NodePublishVolume', 'whole');
    const staging = join(root, 'plugins/kubernetes.io/csi/disk.csi.test');
    const [hash] = (await readdir(staging)).filter((one) => stage.stagingTargetPath.includes(one));
    assert.equal(stage.stagingTargetPath, join(staging, hash!, 'globalmount'));
    assert.equal(publish.stagingTargetPath, stage.stagingTargetPath);
    assert.equal(publish.targetPath, join(root, 'pods', uid, 'volumes/kubernetes.io~csi/whole/mount'));
    assert.deepEqual(stage.publishContext, { device: '/dev/disk/whole', attachedTo: 'csi-node-1' });
    assert.deepEqual(publish.volumeContext, { kind: 'fast' });
    assert.deepEqual(stage.volumeCapability.accessType.value.mountFlags, ['noatime']);
    assert.equal(stage.volumeCapability.accessType.value.fsType, 'ext4');
    // SINGLE_NODE_MULTI_WRITER: ReadWriteOnce, to a driver that knows the difference.
    assert.equal(stage.volumeCapability.accessMode.mode, 7);
    const kept = JSON.parse(
      await readFile(join(root, 'pods', uid, 'volumes/kubernetes.io~csi/whole/vol_data.json'), 'utf8'),
    );
    assert.equal(kept.driverName, 'disk.csi.test');
    assert.equal(kept.volumeHandle, 'whole');
    assert.equal(kept.specVolID, 'whole');
    assert.equal(kept.volumeLifecycleMode, 'Persistent');
    const node = await cluster.get('node', 'node-1');
    const unique = 'kubernetes.io/csi/disk.csi.test^whole';
    assert.ok(node.status.volumesInUse.includes(unique));
    assert.ok(node.status.volumesAttached.some(({ name }: any) => name === unique));
    await eventually('whole', /^SuccessfulAttachVolume: AttachVolume.Attach succeeded for volume "whole"/);
    await remove('whole');
    await until('the volume detached', () => driver.history('whole').includes('ControllerUnpublishVolume'));
    assert.deepEqual(driver.history('whole'), [
      'ControllerPublishVolume',
      'NodeStageVolume',
      'NodePublishVolume',
      'NodeUnpublishVolume',
      'NodeUnstageVolume',
      'ControllerUnpublishVolume',
    ]);
    assert.equal(existsSync(join(root, 'pods', uid)), false);
    assert.equal(existsSync(join(staging, hash!)), false);
    await until('no VolumeAttachment', async () => {
      const { items } = await cluster.get('volumeattachments');
      return !items.some(({ spec }: any) => spec.source.persistentVolumeName === 'whole');
    });
    assert.ok(existsSync(join(driver.dataPath('whole'), 'written')), 'the data stay');
  });
});
void [GrpcError, stat];
