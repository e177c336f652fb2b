/** PersistentVolumeClaims from their creation to the directory in the pod, and back. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Cluster } from '../../support/cluster.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';
import { KubeletSuite } from '../../support/kubelet-suite.ts';

const claim = (name: string, spec: object = {}, size = '10Mi'): object => ({
  apiVersion: 'v1',
  kind: 'PersistentVolumeClaim',
  metadata: { name },
  spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: size } }, ...spec },
});

const volume = (name: string, spec: object, labels: object = {}): object => ({
  apiVersion: 'v1',
  kind: 'PersistentVolume',
  metadata: { name, labels },
  spec: {
    accessModes: ['ReadWriteOnce'],
    capacity: { storage: '1Gi' },
    ...('local' in spec
      ? {
          nodeAffinity: {
            required: {
              nodeSelectorTerms: [
                { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: ['node-1'] }] },
              ],
            },
          },
        }
      : {}),
    ...spec,
  },
});

const storageClass = (name: string, fields: object): object => ({
  apiVersion: 'storage.k8s.io/v1',
  kind: 'StorageClass',
  metadata: { name },
  ...fields,
});

describe('claims', { concurrency: 8 }, () => {
  let cluster: Cluster;
  let registry: DemoRegistry;
  let suite: KubeletSuite;
  let outside: string;
  const phase = async (kind: string, name: string): Promise<string | undefined> =>
    (await cluster.get(kind, name)).status?.phase;
  const data = { mounts: [{ name: 'data', mountPath: '/data' }] };
  const claimed = (claimName: string, more: object = {}) => ({
    ...data,
    volumes: [{ name: 'data', persistentVolumeClaim: { claimName, ...more } }],
  });
  const directories = () => readdir(join(cluster.dataDirectory, 'local-path')).catch(() => []);

  before(async () => {
    outside = await mkdtemp(join(tmpdir(), 'dh-claims-'));
    cluster = await Cluster.start('kclaims');
    registry = await DemoRegistry.start(cluster.namespace);
    suite = new KubeletSuite(cluster, registry.image('v1'));
  });
  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
    await rm(outside, { recursive: true, force: true });
  });

  test('a claim without a class gets the default one, waits for its pod, and its data outlives the pod', async () => {
    await suite.apply(claim('first'));
    await suite.untilEvent('first', /^WaitForFirstConsumer: waiting for first consumer to be created before binding/);
    const pending = await cluster.get('pvc', 'first');
    assert.equal(pending.spec.storageClassName, 'local-path');
    assert.equal(pending.status.phase, 'Pending');
    await suite.apply(suite.pod('writer', claimed('first')));
    await suite.ready('writer');
    await suite.sh('writer', 'echo kept > /data/file');
    const bound = await cluster.get('pvc', 'first');
    assert.equal(bound.status.phase, 'Bound');
    assert.equal(bound.status.capacity.storage, '10Mi');
    const made = await cluster.get('pv', bound.spec.volumeName);
    assert.deepEqual(made.spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].values, ['node-1']);
    assert.equal(await readFile(join(made.spec.local.path, 'file'), 'utf8'), 'kept\n');
    await suite.remove('pod/writer');
    await suite.apply(suite.pod('reader', claimed('first')));
    await suite.ready('reader');
    assert.equal(await suite.sh('reader', 'cat /data/file'), 'kept\n');
  });

  test('a claim in use is deleted after its pod, and its directory with it', async () => {
    await suite.apply(claim('used'), suite.pod('user', claimed('used')));
    await suite.ready('user');
    const name = (await cluster.get('pvc', 'used')).spec.volumeName;
    assert.ok((await directories()).some((one) => one.startsWith(name)));
    await cluster.kubectl(['delete', 'pvc', 'used', '--wait=false']);
    assert.ok((await cluster.get('pvc', 'used')).metadata.deletionTimestamp, 'still there');
    await suite.remove('pod/user');
    await suite.until('claim and volume are gone', async () => {
      const left = await cluster.tryKubectl(['get', 'pv', name]);
      return left.status !== 0 && (await cluster.tryKubectl(['get', 'pvc', 'used'])).status !== 0;
    });
    assert.ok(!(await directories()).some((one) => one.startsWith(name)));
  });

  test('a StatefulSet gives each pod a claim of its own, and its retention policy takes them away', async () => {
    const labels = { app: 'db' };
    const set = {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata: { name: 'db' },
      spec: {
        serviceName: 'db',
        replicas: 2,
        podManagementPolicy: 'Parallel',
        persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Delete', whenScaled: 'Delete' },
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: (suite.pod('x', data) as { spec: object }).spec,
        },
        volumeClaimTemplates: [claim('data')],
      },
    };
    await suite.apply(set);
    await suite.until('both are ready', async () => (await cluster.get('sts', 'db')).status?.readyReplicas === 2);
    await suite.sh('db-0', 'echo zero > /data/who');
    await suite.sh('db-1', 'echo one > /data/who');
    await suite.remove('pod/db-0');
    await suite.until('db-0 is back', async () => (await cluster.get('sts', 'db')).status?.readyReplicas === 2);
    await suite.ready('db-0');
    assert.equal(await suite.sh('db-0', 'cat /data/who'), 'zero\n');
    await cluster.kubectl(['scale', 'sts/db', '--replicas=1']);
    await suite.until(
      'the claim of db-1 is gone',
      async () => (await cluster.tryKubectl(['get', 'pvc', 'data-db-1'])).status !== 0,
    );
    assert.equal(await phase('pvc', 'data-db-0'), 'Bound');
    await cluster.kubectl(['delete', 'sts', 'db']);
    await suite.until(
      'the claim of db-0 is gone',
      async () => (await cluster.tryKubectl(['get', 'pvc', 'data-db-0'])).status !== 0,
    );
  });

  test('an ephemeral volume has a claim that comes and goes with the pod', async () => {
    const template = { metadata: { labels: { scratch: 'yes' } }, spec: (claim('x') as { spec: object }).spec };
    await suite.apply(
      suite.pod('worker', { ...data, volumes: [{ name: 'data', ephemeral: { volumeClaimTemplate: template } }] }),
    );
    await suite.ready('worker');
    await suite.sh('worker', 'echo x > /data/x');
    const made = await cluster.get('pvc', 'worker-data');
    assert.equal(made.metadata.labels.scratch, 'yes');
    assert.equal(made.metadata.ownerReferences[0].name, 'worker');
    await suite.remove('pod/worker');
    await suite.until(
      'the claim is gone',
      async () => (await cluster.tryKubectl(['get', 'pvc', 'worker-data'])).status !== 0,
    );
  });

  test('the smallest volume that fits is taken; selector, class and name narrow the choice; Retain keeps it', async () => {
    await suite.apply(storageClass('by-hand', { provisioner: 'kubernetes.io/no-provisioner' }));
    for (const name of ['small', 'middle', 'large', 'named']) await mkdir(join(outside, name));
    await writeFile(join(outside, 'middle/greeting'), 'hello');
    const byHand = (name: string, size: string, labels: object = {}) =>
      volume(
        name,
        { capacity: { storage: size }, storageClassName: 'by-hand', local: { path: join(outside, name) } },
        labels,
      );
    await suite.apply(
      byHand('small', '1Mi'),
      byHand('middle', '20Mi'),
      byHand('large', '30Mi'),
      byHand('named', '40Mi', { tier: 'gold' }),
    );
    await suite.until('they are available', async () => (await phase('pv', 'named')) === 'Available');
    await suite.apply(claim('any', { storageClassName: 'by-hand' }));
    await suite.until('any is bound', async () => (await phase('pvc', 'any')) === 'Bound');
    assert.equal((await cluster.get('pvc', 'any')).spec.volumeName, 'middle');
    await suite.apply(claim('gold', { storageClassName: 'by-hand', selector: { matchLabels: { tier: 'gold' } } }));
    await suite.apply(claim('large', { storageClassName: 'by-hand', volumeName: 'large' }));
    await suite.until(
      'both are bound',
      async () => (await phase('pvc', 'gold')) === 'Bound' && (await phase('pvc', 'large')) === 'Bound',
    );
    assert.equal((await cluster.get('pvc', 'gold')).spec.volumeName, 'named');
    await suite.apply(suite.pod('greeter', claimed('any', { readOnly: true })));
    await suite.ready('greeter');
    assert.equal(await suite.sh('greeter', 'cat /data/greeting'), 'hello');
    await assert.rejects(suite.sh('greeter', 'touch /data/x'), /Read-only/);
    await suite.remove('pod/greeter', 'pvc/any');
    await suite.until('the volume is released', async () => (await phase('pv', 'middle')) === 'Released');
    assert.ok(existsSync(join(outside, 'middle/greeting')));
    await suite.apply(claim('again', { storageClassName: 'by-hand' }));
    await suite.untilEvent('again', /^FailedBinding: .*no persistent volume fits/);
    assert.equal(await phase('pvc', 'again'), 'Pending');
  });

  test('volumes of a class that waits are chosen with the node of the pod', async () => {
    const waits = { provisioner: 'kubernetes.io/no-provisioner', volumeBindingMode: 'WaitForFirstConsumer' };
    await suite.apply(storageClass('waits', waits));
    await mkdir(join(outside, 'here'));
    const there = volume('there', { storageClassName: 'waits', local: { path: '/nowhere' } }) as any;
    there.spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].values = ['node-2'];
    const here = volume('here', {
      storageClassName: 'waits',
      capacity: { storage: '2Gi' },
      local: { path: join(outside, 'here') },
    });
    await suite.apply(there, here, claim('chosen', { storageClassName: 'waits' }));
    await suite.untilEvent('chosen', /^WaitForFirstConsumer/);
    await suite.apply(suite.pod('chooser', claimed('chosen')));
    await suite.ready('chooser');
    assert.equal((await cluster.get('pvc', 'chosen')).spec.volumeName, 'here');
    assert.equal(await phase('pv', 'there'), 'Available');
    await suite.apply(claim('second', { storageClassName: 'waits' }), suite.pod('outbid', claimed('second')));
    await suite.untilEvent('outbid', /1 node\(s\) didn't find available persistent volumes to bind/);
  });

  test('a volume kept for a claim waits for it; a hostPath volume is made where it is missing', async () => {
    const claimRef = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', namespace: 'default', name: 'reserved' };
    const hostPath = { path: join(outside, 'made-by-kubelet'), type: 'DirectoryOrCreate' };
    await suite.apply(volume('kept', { storageClassName: '', claimRef, hostPath }));
    await suite.apply(claim('reserved', { storageClassName: '' }));
    await suite.until('reserved is bound', async () => (await phase('pvc', 'reserved')) === 'Bound');
    assert.equal((await cluster.get('pvc', 'reserved')).spec.volumeName, 'kept');
    await suite.apply(suite.pod('on-host', claimed('reserved')));
    await suite.ready('on-host');
    await suite.sh('on-host', 'echo here > /data/file');
    assert.equal(await readFile(join(hostPath.path, 'file'), 'utf8'), 'here\n');
  });

  test('a pod waits for claims that are missing or unbound, says so, and starts when they come', async () => {
    await suite.apply(suite.pod('early', claimed('late')));
    await suite.untilEvent(
      'early',
      /^FailedScheduling: 0\/1 nodes are available: persistentvolumeclaim "late" not found/,
    );
    await suite.apply(claim('late'));
    await suite.ready('early');
    await suite.apply(claim('nowhere', { storageClassName: '' }), suite.pod('stuck', claimed('nowhere')));
    await suite.untilEvent(
      'nowhere',
      /^FailedBinding: no persistent volumes available for this claim and no storage class is set/,
    );
    await suite.untilEvent('stuck', /pod has unbound immediate PersistentVolumeClaims/);
    await suite.apply(claim('odd', { storageClassName: 'absent' }));
    await suite.untilEvent('odd', /^ProvisioningFailed: storageclass.storage.k8s.io "absent" not found/);
  });

  test('ReadWriteOncePod is for one pod', async () => {
    await suite.apply(claim('single', { accessModes: ['ReadWriteOncePod'] }), suite.pod('owner', claimed('single')));
    await suite.ready('owner');
    await suite.apply(suite.pod('rival', claimed('single')));
    await suite.untilEvent('rival', /ReadWriteOncePod access mode already in-use by another pod/);
    await suite.remove('pod/owner');
    await suite.ready('rival');
  });

  test('a claim grows where its class allows it, and never shrinks', async () => {
    await suite.apply(claim('growing'), suite.pod('grower', claimed('growing')));
    await suite.ready('grower');
    const resize = (size: string) =>
      cluster.tryKubectl([
        'patch',
        'pvc',
        'growing',
        '-p',
        JSON.stringify({ spec: { resources: { requests: { storage: size } } } }),
      ]);
    assert.equal((await resize('50Mi')).status, 0);
    await suite.until(
      'it has grown',
      async () => (await cluster.get('pvc', 'growing')).status.capacity.storage === '50Mi',
    );
    assert.match((await resize('5Mi')).stderr, /can not be less than status.capacity/);
  });

  test('a claim whose volume is deleted by force is lost', async () => {
    await mkdir(join(outside, 'doomed'));
    await suite.apply(volume('doomed', { storageClassName: 'doom', local: { path: join(outside, 'doomed') } }));
    await suite.apply(claim('unlucky', { storageClassName: 'doom', volumeName: 'doomed' }));
    await suite.until('it is bound', async () => (await phase('pvc', 'unlucky')) === 'Bound');
    await cluster.kubectl(['delete', 'pv', 'doomed', '--wait=false']);
    await cluster.kubectl(['patch', 'pv', 'doomed', '--type=merge', '-p', '{"metadata":{"finalizers":null}}']);
    await suite.until('it is lost', async () => (await phase('pvc', 'unlucky')) === 'Lost');
    await suite.untilEvent('unlucky', /^ClaimLost: Bound claim has lost its PersistentVolume/);
  });

  test('what local-path cannot do is refused in words', async () => {
    await suite.apply(
      claim('device', { volumeMode: 'Block' }),
      suite.pod('blocked', {
        volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'device' } }],
        container: { volumeDevices: [{ name: 'data', devicePath: '/dev/data' }] },
      }),
    );
    await suite.untilEvent('device', /^ProvisioningFailed: local-path makes directories, not devices/);
  });
});
