/** Volumes through kills of the kubelet, NFS by a stand-in for its helper, and local devices. */
import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Cluster } from '../../support/cluster.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';
import { KubeletSuite } from '../../support/kubelet-suite.ts';
import { run } from '../../support/processes.ts';

const onNode = {
  required: {
    nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: ['node-1'] }] }],
  },
};

/** A volume and the claim that it is for. */
const pair = (name: string, spec: object, claim: object = {}): object[] => [
  {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name },
    spec: { accessModes: ['ReadWriteMany'], capacity: { storage: '16Mi' }, storageClassName: name, ...spec },
  },
  {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name },
    spec: {
      ...{ accessModes: ['ReadWriteMany'], storageClassName: name, volumeName: name, ...claim },
      resources: { requests: { storage: '16Mi' } },
    },
  },
];

/**
 * Stands in for mount.nfs: shows a directory, and tells how it was called. Where a file names a process it kills that
 * after the mount, as if it had died before it heard of it.
 */
const helper = (outside: string): string => `#!/bin/sh
echo "$@" >> ${outside}/calls
mount --bind ${outside}/export "$2" || exit 32
case "$*" in *ro*) mount -o remount,bind,ro "$2";; esac
if [ -f ${outside}/kill ]; then pid=$(cat ${outside}/kill); rm ${outside}/kill; kill -9 $pid; fi
`;

describe('volumes and restarts', () => {
  let cluster: Cluster;
  let registry: DemoRegistry;
  let suite: KubeletSuite;
  let outside: string;
  const mountsOf = async (uid: string): Promise<string[]> =>
    (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').filter((line) => line.includes(uid));
  const killKubelet = async (): Promise<void> => {
    const pid = await cluster.pidOf('kubelet');
    process.kill(pid, 'SIGKILL');
    await suite.until('another kubelet runs', async () => {
      const one = (await cluster.status()).components.find(({ name }) => name === 'kubelet');
      return one !== undefined && one.pid !== pid && one.state === 'running';
    });
  };
  const data = (name: string, volume: object, more: object = {}) =>
    suite.pod(name, {
      volumes: [{ name: 'data', ...volume }],
      mounts: [{ name: 'data', mountPath: '/data' }],
      ...more,
    });

  before(async () => {
    outside = await mkdtemp(join(tmpdir(), 'dh-vrestart-'));
    await mkdir(join(outside, 'export'));
    await mkdir(join(outside, 'bin'));
    await writeFile(join(outside, 'bin/mount.nfs'), helper(outside), { mode: 0o755 });
    process.env['PATH'] = `${join(outside, 'bin')}:${process.env['PATH']}`;
    cluster = await Cluster.withKubelet('kvrestart', {});
    registry = await DemoRegistry.start(cluster.namespace);
    suite = new KubeletSuite(cluster, registry.image('v1'));
  });
  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
    await rm(outside, { recursive: true, force: true });
  });

  test('NFS is mounted by its helper with the options of the volume, and unmounted with the pod', async () => {
    await writeFile(join(outside, 'export/file'), 'from afar');
    const nfs = { server: 'fd00::1', path: '/exports/x' };
    await suite.apply(...pair('far', { nfs, mountOptions: ['nfsvers=4.2', 'hard'] }));
    await suite.apply(
      data('reader', { persistentVolumeClaim: { claimName: 'far' } }),
      data('inline', { nfs: { ...nfs, readOnly: true } }),
    );
    await suite.ready('reader', 'inline');
    assert.equal(await suite.sh('reader', 'cat /data/file; touch /data/x'), 'from afar');
    await assert.rejects(suite.sh('inline', 'touch /data/y'), /Read-only/);
    const calls = (await readFile(join(outside, 'calls'), 'utf8')).trim().split('\n');
    assert.ok(
      calls.some((call) => /^\[fd00::1\]:\/exports\/x \S+kubernetes.io~nfs\/far -o nfsvers=4.2,hard$/.test(call)),
      calls.join('\n'),
    );
    assert.ok(
      calls.some((call) => /kubernetes.io~nfs\/data -o ro$/.test(call)),
      calls.join('\n'),
    );
    const { uid } = (await cluster.get('pod', 'reader')).metadata;
    await suite.remove('pod/reader', 'pod/inline');
    await suite.until('nothing is mounted', async () => (await mountsOf(uid)).length === 0);
    assert.equal(await readFile(join(outside, 'export/file'), 'utf8'), 'from afar');
  });

  test('a kubelet killed between a mount and its answer leaves nothing behind', async () => {
    await writeFile(join(outside, 'kill'), String(await cluster.pidOf('kubelet')));
    await suite.apply(data('torn', { nfs: { server: 'afar', path: '/x' } }));
    await suite.ready('torn');
    const { uid } = (await cluster.get('pod', 'torn')).metadata;
    const own = (await mountsOf(uid)).filter((line) => line.includes('kubernetes.io~nfs'));
    assert.equal(own.length, 1, own.join('\n'));
    await suite.remove('pod/torn');
    await suite.until('nothing is mounted', async () => (await mountsOf(uid)).length === 0);
    await suite.until(
      'no directory is left',
      async () => (await stat(join(cluster.dataDirectory, 'kubelet/pods', uid)).catch(() => undefined)) === undefined,
    );
    assert.equal(await readFile(join(outside, 'export/file'), 'utf8'), 'from afar');
  });

  test('a pod that goes while the kubelet is dead leaves no mounts, and its neighbour keeps its data', async () => {
    await suite.apply(...pair('shared', { nfs: { server: 'afar', path: '/shared' } }));
    await suite.apply(
      data('leaves', { persistentVolumeClaim: { claimName: 'shared' } }),
      data('stays', { persistentVolumeClaim: { claimName: 'shared' } }),
    );
    await suite.ready('leaves', 'stays');
    const { uid } = (await cluster.get('pod', 'leaves')).metadata;
    const pid = await cluster.pidOf('kubelet');
    process.kill(pid, 'SIGSTOP');
    await cluster.kubectl(['delete', 'pod', 'leaves', '--force', '--grace-period=0']);
    process.kill(pid, 'SIGKILL');
    await suite.until('nothing is mounted', async () => (await mountsOf(uid)).length === 0);
    await suite.until(
      'no directory is left',
      async () => (await stat(join(cluster.dataDirectory, 'kubelet/pods', uid)).catch(() => undefined)) === undefined,
    );
    assert.equal(await suite.sh('stays', 'cat /data/file'), 'from afar');
  });

  test('after a restart volumes follow their objects again, and what pods have made of theirs is left alone', async () => {
    await suite.apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'live' }, data: { a: '1' } });
    await suite.apply(
      suite.pod('survivor', {
        volumes: [
          { name: 'live', configMap: { name: 'live' } },
          { name: 'disk', emptyDir: {} },
          { name: 'memory', emptyDir: { medium: 'Memory' } },
        ],
        mounts: [
          { name: 'live', mountPath: '/live' },
          { name: 'disk', mountPath: '/disk' },
          { name: 'memory', mountPath: '/memory' },
        ],
        spec: { securityContext: { fsGroup: 4000 } },
      }),
    );
    await suite.ready('survivor');
    await suite.sh(
      'survivor',
      'chmod 700 /disk /memory; echo kept > /disk/file; echo kept > /memory/file; chmod 600 /disk/file',
    );
    await killKubelet();
    await suite.apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'live' }, data: { a: '2' } });
    await suite.until(
      'the change is seen',
      async () => (await suite.sh('survivor', 'cat /live/a').catch(() => '')) === '2',
    );
    const looks = await suite.sh('survivor', 'stat -c %a /disk /memory /disk/file; cat /disk/file /memory/file');
    assert.equal(looks, '700\n700\n600\nkept\nkept\n');
    const [status] = (await cluster.get('pod', 'survivor')).status.containerStatuses;
    assert.equal(status.restartCount, 0);
  });

  test('a local device is formatted once, mounted for all its pods, and is a device where that is asked', async (t) => {
    const loops: string[] = [];
    const device = async (name: string): Promise<string> => {
      const file = join(outside, name);
      await writeFile(file, '');
      await truncate(file, 16 * 1024 * 1024);
      const { status, stdout } = await run(['losetup', '--find', '--show', file]);
      if (status === 0) loops.push(stdout.trim());
      return status === 0 ? stdout.trim() : '';
    };
    const [disk, raw] = [await device('disk'), await device('raw')];
    if (!disk || !raw) return t.skip('this machine gives no loop devices');
    try {
      await suite.apply(...pair('disk', { local: { path: disk }, nodeAffinity: onNode, mountOptions: ['noatime'] }));
      await suite.apply(
        ...pair('raw', { local: { path: raw }, nodeAffinity: onNode, volumeMode: 'Block' }, { volumeMode: 'Block' }),
      );
      const claimed = { persistentVolumeClaim: { claimName: 'disk' } };
      await suite.apply(data('one', claimed), data('two', claimed));
      await suite.apply(
        suite.pod('raw', {
          volumes: [{ name: 'raw', persistentVolumeClaim: { claimName: 'raw' } }],
          container: { volumeDevices: [{ name: 'raw', devicePath: '/dev/raw' }] },
        }),
      );
      await suite.ready('one', 'two', 'raw');
      assert.match(await suite.sh('one', 'echo shared > /data/file; grep " /data " /proc/mounts'), /ext4 .*noatime/);
      assert.equal(await suite.sh('two', 'cat /data/file'), 'shared\n');
      await suite.sh('raw', 'echo bytes | dd of=/dev/raw conv=notrunc,fsync 2>/dev/null');
      assert.equal((await run(['head', '-c', '5', raw])).stdout, 'bytes');
      await suite.remove('pod/one');
      assert.equal(await suite.sh('two', 'cat /data/file'), 'shared\n');
      await suite.remove('pod/two', 'pod/raw');
      const mounts = await readFile('/proc/self/mountinfo', 'utf8');
      assert.ok(!mounts.includes(` ${disk} `), 'the device is no longer mounted');
      await suite.apply(data('again', claimed));
      await suite.ready('again');
      assert.equal(await suite.sh('again', 'cat /data/file'), 'shared\n');
      await suite.remove('pod/again');
    } finally {
      for (const loop of loops) await run(['losetup', '--detach', loop]);
    }
  });

  test('without the helper of NFS the pod says what to install', async (t) => {
    const installed = await Promise.all(
      ['/sbin/mount.nfs', '/usr/sbin/mount.nfs'].map((path) => stat(path).catch(() => undefined)),
    );
    if (installed.some(Boolean)) return t.skip('this machine has nfs-common');
    await chmod(join(outside, 'bin/mount.nfs'), 0o644);
    await suite.apply(data('helpless', { nfs: { server: 'afar', path: '/x' } }));
    await suite.untilEvent(
      'helpless',
      /mount.nfs not found in PATH or \/sbin: install it on this node \(the Debian package nfs-common\)/,
    );
    await chmod(join(outside, 'bin/mount.nfs'), 0o755);
    await suite.ready('helpless');
  });
});
