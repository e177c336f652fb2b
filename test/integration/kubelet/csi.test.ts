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
  /** Neither attached nor staged; for pods' own volumes too. */
  let plain: CsiDriver;
  /** Gives volumes to groups itself. */
  let grouping: CsiDriver;
  /** Published again and again, with tokens. */
  let tokens: CsiDriver;
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
    plain = await makeDriver('plain.csi.test', { node: ['GET_VOLUME_STATS', 'VOLUME_CONDITION'] });
    grouping = await makeDriver('grouping.csi.test', { node: ['STAGE_UNSTAGE_VOLUME', 'VOLUME_MOUNT_GROUP'] });
    tokens = await makeDriver('tokens.csi.test', { node: [] });
    await apply(
      cluster,
      csiDriverObject(driver, { fsGroupPolicy: 'ReadWriteOnceWithFSType' }),
      csiDriverObject(plain, {
        attachRequired: false,
        podInfoOnMount: true,
        fsGroupPolicy: 'File',
        volumeLifecycleModes: ['Persistent', 'Ephemeral'],
      }),
      csiDriverObject(grouping, { attachRequired: false, fsGroupPolicy: 'File' }),
      csiDriverObject(tokens, {
        attachRequired: false,
        fsGroupPolicy: 'None',
        volumeLifecycleModes: ['Ephemeral', 'Persistent'],
        requiresRepublish: true,
        tokenRequests: [{ audience: 'vault', expirationSeconds: 600 }, { audience: '' }],
      }),
    );
    for (const one of drivers) await one.register(root);
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

  it("a pod's own volume is made for it and goes with it, and the driver is told whose it is", async () => {
    await apply(
      cluster,
      { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'inline-key' }, stringData: { user: 'me' } },
      podWithVolumes('inline', image, {
        own: {
          csi: {
            driver: plain.name,
            readOnly: true,
            fsType: 'xfs',
            volumeAttributes: { colour: 'blue' },
            nodePublishSecretRef: { name: 'inline-key' },
          },
        },
      }),
    );
    await ready('inline');
    assert.equal(await exec('inline', 'cat', '/mnt/own/made-for'), 'inline');
    const uid = await uidOf('inline');
    const publish = plain.requests('NodePublishVolume').find((one) => one.volumeContext.colour === 'blue');
    assert.match(publish.volumeId, /^csi-[0-9a-f]{64}$/);
    assert.deepEqual(publish.volumeContext, {
      colour: 'blue',
      'csi.storage.k8s.io/ephemeral': 'true',
      'csi.storage.k8s.io/pod.name': 'inline',
      'csi.storage.k8s.io/pod.namespace': 'default',
      'csi.storage.k8s.io/pod.uid': uid,
      'csi.storage.k8s.io/serviceAccount.name': 'default',
    });
    assert.deepEqual(publish.secrets, { user: 'me' });
    assert.equal(publish.readonly, true);
    assert.equal(publish.stagingTargetPath, '');
    assert.equal(publish.volumeCapability.accessType.value.fsType, 'xfs');
    await remove('inline');
    assert.deepEqual(plain.history(publish.volumeId), ['NodePublishVolume', 'NodeUnpublishVolume']);
    assert.equal(existsSync(join(root, 'pods', uid)), false);
  });

  it('a driver whose CSIDriver does not say so makes no volumes for pods alone', async () => {
    await apply(cluster, podWithVolumes('refused', image, { own: { csi: { driver: driver.name } } }));
    await eventually(
      'refused',
      /^FailedMount: MountVolume.SetUp failed for volume "own" : kubernetes.io\/csi: mounter.SetupAt failed to check volume lifecycle mode: volume mode "Ephemeral" not supported by driver disk.csi.test \(only supports \["Persistent"\]\)/,
    );
    await remove('refused');
  });

  it('secrets of a persistent volume go to the call that each is for', async () => {
    for (const part of ['stage', 'publish']) {
      const metadata = { name: `for-${part}`, namespace: 'kube-system' };
      await apply(cluster, { apiVersion: 'v1', kind: 'Secret', metadata, stringData: { part } });
    }
    await boundClaim(cluster, driver, 'secretive', {
      csi: {
        nodeStageSecretRef: { name: 'for-stage', namespace: 'kube-system' },
        nodePublishSecretRef: { name: 'for-publish', namespace: 'kube-system' },
      },
    });
    await apply(cluster, podWithVolumes('secretive', image, { data: claim('secretive') }));
    await ready('secretive');
    assert.deepEqual(driver.requests('NodeStageVolume', 'secretive')[0].secrets, { part: 'stage' });
    assert.deepEqual(driver.requests('NodePublishVolume', 'secretive')[0].secrets, { part: 'publish' });
  });

  it('access modes reach the driver as it understands them', async () => {
    const modes = { ReadWriteOnce: 7, ReadOnlyMany: 3, ReadWriteMany: 5, ReadWriteOncePod: 6 };
    const volumes: Record<string, object> = {};
    for (const mode of Object.keys(modes)) {
      const name = `mode-${mode.toLowerCase()}`;
      await boundClaim(cluster, driver, name, { accessModes: [mode] });
      volumes[name] = claim(name);
    }
    await boundClaim(cluster, plain, 'mode-simple', { accessModes: ['ReadWriteOncePod'] });
    volumes['simple'] = { persistentVolumeClaim: { claimName: 'mode-simple', readOnly: true } };
    await apply(cluster, podWithVolumes('modes', image, volumes));
    await ready('modes');
    for (const [mode, number] of Object.entries(modes)) {
      const [publish] = driver.requests('NodePublishVolume', `mode-${mode.toLowerCase()}`);
      assert.equal(publish.volumeCapability.accessMode.mode, number, mode);
    }
    const [simple] = plain.requests('NodePublishVolume', 'mode-simple');
    assert.equal(simple.volumeCapability.accessMode.mode, 1);
    assert.equal(simple.readonly, true);
    assert.equal(simple.volumeContext['csi.storage.k8s.io/ephemeral'], 'false');
  });

  it('a volume is given to the group of the pod as the policy of its driver says', async () => {
    await boundClaim(cluster, driver, 'group-typed', { fsType: 'ext4' });
    await boundClaim(cluster, driver, 'group-untyped');
    await boundClaim(cluster, driver, 'group-shared', { fsType: 'ext4', accessModes: ['ReadWriteMany'] });
    await boundClaim(cluster, plain, 'group-file', { accessModes: ['ReadWriteMany'] });
    await boundClaim(cluster, tokens, 'group-none', { fsType: 'ext4' });
    await boundClaim(cluster, grouping, 'group-own', { fsType: 'ext4' });
    const names = ['typed', 'untyped', 'shared', 'file', 'none', 'own'];
    const volumes = Object.fromEntries(names.map((name) => [name, claim(`group-${name}`)]));
    await apply(cluster, podWithVolumes('groups', image, volumes, { spec: { securityContext: { fsGroup: 4321 } } }));
    await ready('groups');
    const owners = new Map<string, number>();
    for (const name of names) {
      const one = drivers.find((each) => existsSync(each.dataPath(`group-${name}`)))!;
      owners.set(name, (await stat(join(one.dataPath(`group-${name}`), 'hello'))).gid);
    }
    assert.deepEqual(Object.fromEntries(owners), { typed: 4321, untyped: 0, shared: 0, file: 4321, none: 0, own: 0 });
    const group = (one: any) => one.volumeCapability.accessType.value.volumeMountGroup;
    assert.equal(group(grouping.requests('NodeStageVolume', 'group-own')[0]), '4321');
    assert.equal(group(grouping.requests('NodePublishVolume', 'group-own')[0]), '4321');
    assert.equal(group(driver.requests('NodePublishVolume', 'group-typed')[0]), '');
  });

  it('tokens of the pod go to a driver that asks for them, and a volume is published again when it wants so', async () => {
    await apply(cluster, podWithVolumes('tokens', image, { own: { csi: { driver: tokens.name } } }));
    await ready('tokens');
    const uid = await uidOf('tokens');
    const path = join(root, 'pods', uid, 'volumes/kubernetes.io~csi/own/mount');
    const own = () => tokens.requests('NodePublishVolume').filter(({ targetPath }) => targetPath === path);
    const given = JSON.parse(own()[0].volumeContext['csi.storage.k8s.io/serviceAccount.tokens']);
    assert.deepEqual(Object.keys(given).sort(), ['', 'vault']);
    const payload = JSON.parse(Buffer.from(given.vault.token.split('.')[1], 'base64url').toString());
    assert.deepEqual(payload.aud, ['vault']);
    assert.equal(payload['kubernetes.io'].pod.uid, uid);
    assert.equal(Date.parse(given.vault.expirationTimestamp), payload.exp * 1000);
    tokens.before('NodePublishVolume', ({ targetPath }) => {
      if (targetPath === path) throw new GrpcError('INTERNAL', 'not now');
    });
    await cluster.kubectl(['label', 'pod', 'tokens', 'seen=again']);
    await until('published again', () => own().length > 1);
    await eventually('tokens', /^FailedMount: .*rpc error: code = Internal desc = not now/);
    // A renewal that fails takes nothing away from the pod.
    assert.ok(existsSync(path));
    tokens.before('NodePublishVolume', undefined);
    assert.equal(own()[0].volumeContext['csi.storage.k8s.io/pod.name'], undefined);
  });

  it('pods that share a volume have it staged once, and unstaged after the last of them', async () => {
    await boundClaim(cluster, driver, 'shared', { accessModes: ['ReadWriteMany'] });
    for (const name of ['shared-1', 'shared-2'])
      await apply(cluster, podWithVolumes(name, image, { data: claim('shared') }));
    await Promise.all([ready('shared-1'), ready('shared-2')]);
    assert.equal(driver.requests('NodeStageVolume', 'shared').length, 1);
    assert.equal(driver.requests('NodePublishVolume', 'shared').length, 2);
    await remove('shared-1');
    assert.equal(driver.requests('NodeUnpublishVolume', 'shared').length, 1);
    assert.equal(driver.requests('NodeUnstageVolume', 'shared').length, 0);
    await remove('shared-2');
    await until('the volume unstaged', () => driver.requests('NodeUnstageVolume', 'shared').length === 1);
  });

  it('a call that fails is told in the words of the driver, undone, and tried again', async () => {
    await boundClaim(cluster, driver, 'failing');
    let left = 2;
    driver.before('NodeStageVolume', ({ volumeId }) => {
      if (volumeId === 'failing' && left-- > 0) throw new GrpcError('INTERNAL', 'no such disk');
    });
    await apply(cluster, podWithVolumes('failing', image, { data: claim('failing') }));
    await eventually(
      'failing',
      /^FailedMount: MountVolume.MountDevice failed for volume "failing" : rpc error: code = Internal desc = no such disk/,
    );
    await ready('failing');
    assert.equal(driver.requests('NodeStageVolume', 'failing').length, 3);
    const metrics = await cluster.kubectl(['get', '--raw', '/api/v1/nodes/node-1/proxy/metrics']);
    const counted = metrics.split('\n').filter((line) => line.startsWith('csi_operations_seconds_count{'));
    const failed = counted.find((line) => line.includes('NodeStageVolume') && line.includes('Internal'));
    assert.match(failed ?? '', /driver_name="disk.csi.test".*method_name="\/csi.v1.Node\/NodeStageVolume".* 2$/);
  });

  it('a call that hangs holds up no other volume, and ends with its pod', async () => {
    for (const name of ['hung', 'free']) await boundClaim(cluster, driver, name);
    let ended = false;
    driver.before('NodePublishVolume', ({ volumeId }, { signal }) => {
      if (volumeId !== 'hung') return;
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          ended = true;
          reject(new GrpcError('CANCELLED', 'gone'));
        });
      });
    });
    await apply(cluster, podWithVolumes('hung', image, { data: claim('hung') }));
    await until('the call', () => driver.requests('NodePublishVolume', 'hung').length > 0);
    await apply(cluster, podWithVolumes('free', image, { data: claim('free') }));
    await ready('free');
    assert.equal(ended, false);
    await remove('hung');
    assert.equal(ended, true);
    // Nobody knows how far the call had come: it is undone.
    assert.ok(driver.history('hung').includes('NodeUnpublishVolume'));
    assert.ok(driver.history('hung').includes('NodeUnstageVolume'));
  });

  it('a pod waits for a driver that is not there yet, and starts when it comes', async () => {
    const late = await makeDriver('late.csi.test');
    await apply(cluster, csiDriverObject(late, { attachRequired: false }));
    await boundClaim(cluster, late, 'late');
    await apply(cluster, podWithVolumes('late', image, { data: claim('late') }));
    await eventually(
      'late',
      /^FailedMount: MountVolume.MountDevice failed for volume "late" : kubernetes.io\/csi: attacher.MountDevice failed to create newCsiDriverClient: driver name late.csi.test not found in the list of registered CSI drivers/,
    );
    await late.register(root);
    await ready('late');
    await remove('late');
    await late.unregister();
    await until('the driver gone from the CSINode', async () => {
      const { spec } = await cluster.get('csinode', 'node-1');
      return !spec.drivers.some(({ name }: any) => name === late.name);
    });
    const { metadata } = await cluster.get('node', 'node-1');
    assert.equal(JSON.parse(metadata.annotations['csi.volume.kubernetes.io/nodeid'])[late.name], undefined);
  });

  it('a driver that the node cannot take is told why', async () => {
    const wrong = await makeDriver('wrong.csi.test', { topology: { 'kubernetes.io/os': 'plan9' } });
    await wrong.register(root);
    await until('the refusal', () => wrong.registrations.length > 0);
    assert.equal(wrong.registrations[0]!.registered, false);
    assert.match(
      wrong.registrations[0]!.error,
      /detected topology value collision: driver reported "kubernetes.io\/os":"plan9"/,
    );
    await wrong.unregister();
    const old = await makeDriver('old.csi.test');
    await old.register(root, ['0.3.0']);
    await until('the refusal', () => old.registrations.length > 0);
    assert.match(old.registrations[0]!.error, /None of the versions specified \["0.3.0"\] are supported/);
    await old.unregister();
  });

  it('a claim of a class gets a volume of its driver, which grows in use and goes with the claim', async () => {
    const spec = {
      accessModes: ['ReadWriteOnce'],
      storageClassName: 'disks',
      resources: { requests: { storage: '1Gi' } },
    };
    await apply(
      cluster,
      {
        apiVersion: 'storage.k8s.io/v1',
        kind: 'StorageClass',
        metadata: { name: 'disks' },
        provisioner: driver.name,
        allowVolumeExpansion: true,
        volumeBindingMode: 'WaitForFirstConsumer',
      },
      { apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name: 'growing' }, spec },
      podWithVolumes('growing', image, { data: claim('growing') }),
    );
    await ready('growing');
    const volume = (await cluster.get('pvc', 'growing')).spec.volumeName;
    assert.equal(
      driver.requests('CreateVolume').some(({ name }) => name === volume),
      true,
    );
    assert.equal(driver.requests('NodeExpandVolume', volume).length, 0);
    const grown = { spec: { resources: { requests: { storage: '3Gi' } } } };
    await cluster.kubectl(['patch', 'pvc', 'growing', '-p', JSON.stringify(grown)]);
    await until('the claim has its size', async () => {
      const { status } = await cluster.get('pvc', 'growing');
      return status.capacity.storage === '3Gi' && !status.conditions?.length;
    });
    const [expand] = driver.requests('NodeExpandVolume', volume);
    assert.equal(expand.capacityRange.requiredBytes, 3n * 2n ** 30n);
    assert.ok(expand.volumePath.endsWith(`kubernetes.io~csi/${volume}/mount`));
    assert.match(expand.stagingTargetPath, /globalmount$/);
    await eventually('growing', /^FileSystemResizeSuccessful: /);
    await remove('growing');
    await cluster.kubectl(['delete', 'pvc', 'growing', '--timeout=30s']);
    await until('the volume deleted', () => driver.requests('DeleteVolume', volume).length > 0);
    await until(
      'the persistent volume gone',
      async () => (await cluster.tryKubectl(['get', 'pv', volume])).status !== 0,
    );
  });

  it('a block volume is a device in its container, and what made it is undone', async () => {
    await boundClaim(cluster, driver, 'block', { mode: 'Block' });
    const device = { name: 'disk', devicePath: '/dev/xvda' };
    const pod: any = podWithVolumes(
      'block',
      image,
      { disk: claim('block') },
      { container: { volumeDevices: [device] } },
    );
    delete pod.spec.containers[0].volumeMounts;
    await apply(cluster, pod);
    await ready('block');
    assert.match(await exec('block', 'ls', '-l', '/dev/xvda'), /^b/);
    const uid = await uidOf('block');
    const [stage] = driver.requests('NodeStageVolume', 'block');
    const [publish] = driver.requests('NodePublishVolume', 'block');
    const devices = join(root, 'plugins/kubernetes.io/csi/volumeDevices');
    assert.equal(stage.volumeCapability.accessType.case, 'block');
    assert.equal(stage.stagingTargetPath, join(devices, 'staging/block'));
    assert.equal(publish.targetPath, join(devices, 'publish/block', uid));
    assert.equal(existsSync(join(devices, 'block/data/vol_data.json')), true);
    await remove('block');
    await until('unstaged', () => driver.history('block').includes('ControllerUnpublishVolume'));
    assert.deepEqual(driver.history('block'), [
      'ControllerPublishVolume',
      'NodeStageVolume',
      'NodePublishVolume',
      'NodeUnpublishVolume',
      'NodeUnstageVolume',
      'ControllerUnpublishVolume',
    ]);
    assert.equal(existsSync(join(devices, 'block')), false);
    assert.equal(existsSync(join(root, 'pods', uid)), false);
  });

  it('how full and how well a volume is comes from its driver', async () => {
    await boundClaim(cluster, plain, 'measured');
    await apply(cluster, podWithVolumes('measured', image, { data: claim('measured') }));
    await ready('measured');
    const uid = await uidOf('measured');
    await until('the driver is asked', () => plain.requests('NodeGetVolumeStats', 'measured').length > 0);
    const [asked] = plain.requests('NodeGetVolumeStats', 'measured');
    assert.equal(asked.volumePath, join(root, 'pods', uid, 'volumes/kubernetes.io~csi/measured/mount'));
    await until('the volume in the summary', async () => {
      const text = await cluster.kubectl(['get', '--raw', '/api/v1/nodes/node-1/proxy/stats/summary']);
      const pod = JSON.parse(text).pods.find(({ podRef }: any) => podRef.name === 'measured');
      const volume = pod?.volume?.find(({ name }: any) => name === 'data');
      return (
        volume?.capacityBytes > 0 && volume.pvcRef?.name === 'measured' && volume.volumeHealthStats?.abnormal === false
      );
    });
  });
});
