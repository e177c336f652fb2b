import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { Pod, Volume } from '../../api/index.ts';
import { pollUntil, systemClock } from '../../async/index.ts';
import { createLogger } from '../../log/index.ts';
import { Operations } from './operations.ts';
import type { VolumeOnDisk, VolumePlugin } from './plugin.ts';
import { VolumeManager } from './volume-manager.ts';
import { VolumeMeter } from './volume-meter.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'dh-manager-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const podOf = (uid: string, volumes: Volume[]): Pod => ({
  metadata: { name: uid, namespace: 'default', uid } as Pod['metadata'],
  spec: {
    containers: [
      { name: 'main', image: 'x', volumeMounts: volumes.map(({ name }) => ({ name, mountPath: `/${name}` })) },
    ],
    volumes,
  },
});

/** A shared disk: `flexVolume.driver` names it. All that it does is files, so that tests see what is left. */
class Disks implements VolumePlugin {
  readonly name = 'test/disk';
  readonly calls: string[] = [];
  problem: string | undefined;
  attached = Promise.withResolvers<void>();
  supports = ({ volume }: { volume: Volume }): boolean => volume.flexVolume !== undefined;
  readonly attach = {
    uniqueName: ({ volume }: { volume: Volume }) => `test/disk^${volume.flexVolume!.driver}`,
    uniqueNameOnDisk: async ({ path }: VolumeOnDisk) => `test/disk^${await readFile(join(path, 'disk'), 'utf8')}`,
    wait: async () => {
      await this.attached.promise;
      return { metadata: { path: '/dev/x' } };
    },
  };
  readonly device = {
    path: ({ volume }: { volume: Volume }) => join(root, 'plugins/disks', volume.flexVolume!.driver),
    pathOnDisk: async ({ path }: VolumeOnDisk) =>
      join(root, 'plugins/disks', await readFile(join(path, 'disk'), 'utf8').catch(() => 'gone')),
    mount: async ({ devicePath }: { devicePath: string }) => {
      this.calls.push(`mount ${basename(devicePath)}`);
      await mkdir(devicePath, { recursive: true });
    },
    unmount: async (devicePath: string) => {
      this.calls.push(`unmount ${basename(devicePath)}`);
      await rm(devicePath, { recursive: true, force: true });
    },
    list: async () => {
      const parent = join(root, 'plugins/disks');
      return (await readdir(parent).catch(() => [])).map((name) => join(parent, name));
    },
  };
  setUp = async ({ path, volume, devicePath, podUid }: Parameters<VolumePlugin['setUp']>[0]): Promise<string> => {
    if (this.problem) throw new Error(this.problem);
    assert.ok((await stat(devicePath!)).isDirectory(), 'the device comes first');
    await mkdir(path, { recursive: true });
    await writeFile(join(path, 'disk'), volume.volume.flexVolume!.driver);
    this.calls.push(`set up ${podUid}`);
    return path;
  };
  tearDown = async ({ path, podUid }: VolumeOnDisk): Promise<void> => {
    this.calls.push(`tear down ${podUid}`);
    await rm(path, { recursive: true, force: true });
    await rm(dirname(path), { recursive: true, force: true });
  };
}

function makeManager(plugins: VolumePlugin[], events: string[] = []): VolumeManager {
  return new VolumeManager({
    ...{ root, client: undefined, plugins, node: () => undefined, onInUse: () => {} },
    note: () => {},
    warn: (_pod, reason, message) => events.push(`${reason}: ${message}`),
    operations: new Operations(systemClock),
    resyncMs: 60_000,
    meter: new VolumeMeter(systemClock, 60_000),
    log: createLogger('test', () => {}),
    clock: systemClock,
  });
}

const disk: Volume = { name: 'data', flexVolume: { driver: 'd1' } };

test('a device is attached, mounted once for all pods, and unmounted after the last', async () => {
  const disks = new Disks();
  const manager = makeManager([disks]);
  const first = manager.mount(podOf('a', [disk]));
  await pollUntil('the volume is in use', () => manager.inUse()?.includes('test/disk^d1'), { timeoutMs: 5000 });
  assert.deepEqual(disks.calls, [], 'nothing is mounted before it is attached');
  disks.attached.resolve();
  await Promise.all([first, manager.mount(podOf('b', [disk]))]);
  assert.deepEqual(disks.calls.toSorted(), ['mount d1', 'set up a', 'set up b']);
  await manager.unmount('a');
  assert.deepEqual(manager.inUse(), ['test/disk^d1']);
  await manager.unmount('b');
  assert.deepEqual(disks.calls.slice(3), ['tear down a', 'tear down b', 'unmount d1']);
  assert.deepEqual(manager.inUse(), []);
  assert.deepEqual(await readdir(join(root, 'pods')), []);
});

test('a new kubelet knows from disk which pods use what, and takes away what nobody uses', async () => {
  const disks = new Disks();
  disks.attached.resolve();
  const before = makeManager([disks]);
  await before.mount(podOf('a', [disk]));
  await before.mount(podOf('b', [{ name: 'other', flexVolume: { driver: 'd2' } }]));
  await mkdir(join(root, 'plugins/disks/d3'));
  const after = makeManager([disks]);
  await pollUntil('volumes in use are known', () => after.inUse()?.length === 2, { timeoutMs: 5000 });
  disks.calls.length = 0;
  await after.collect(new Set(['a']));
  assert.deepEqual(
    disks.calls.filter((call) => call !== 'unmount d3'),
    ['tear down b', 'unmount d2'],
  );
  assert.ok(disks.calls.includes('unmount d3'));
  await after.mount(podOf('a', [disk]));
  await after.unmount('a');
  assert.deepEqual(await readdir(join(root, 'plugins/disks')), []);
});

test('what fails is told and tried again; a pod that waits for too long hears which volumes are missing', async () => {
  const disks = new Disks();
  const events: string[] = [];
  const manager = makeManager([disks], events);
  disks.attached.resolve();
  disks.problem = 'the disk is on fire';
  const stop = new AbortController();
  const waiting = manager.mount(podOf('a', [disk]), stop.signal);
  await pollUntil('an event', () => events.length > 0, { timeoutMs: 5000 });
  assert.equal(events[0], 'FailedMount: MountVolume.SetUp failed for volume "data" : the disk is on fire');
  stop.abort(new Error('too long'));
  await assert.rejects(waiting, {
    code: 'TIMEOUT',
    message:
      'Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[], failed to process volumes=[]: context deadline exceeded',
  });
  disks.problem = undefined;
  const again = manager.mount(podOf('a', [disk]));
  manager.changed(['a']);
  assert.equal((await again).get('data'), join(root, 'pods/a/volumes/test~disk/data'));
  await manager.unmount('a');
});

test('volumes that no container uses are not made; unknown kinds are refused by name', async () => {
  const events: string[] = [];
  const manager = makeManager([new Disks()], events);
  const pod = podOf('a', [{ name: 'odd', iscsi: { iqn: 'x', lun: 0, targetPortal: 'y' } }]);
  const unused = { ...pod, spec: { ...pod.spec, containers: [{ name: 'main', image: 'x' }] } };
  assert.equal((await manager.mount(unused)).size, 0);
  const stop = new AbortController();
  const waiting = manager.mount(pod, stop.signal);
  await pollUntil('an event', () => events.length > 0, { timeoutMs: 5000 });
  assert.match(events[0]!, /no volume plugin matched: iscsi volumes are not supported by this kubelet/);
  stop.abort();
  await assert.rejects(waiting);
});
