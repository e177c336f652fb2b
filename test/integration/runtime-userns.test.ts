import assert from 'node:assert/strict';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { NamespaceMode } from '../../src/api/cri/index.ts';
import { pollUntil } from '../../src/async/index.ts';
import { RuntimeFixture, type TestPod } from '../support/runtime-fixture.ts';

const hostId = 300_000;
const mapping = [{ containerId: 0, hostId, length: 65_536 }];
const podUsers = { mode: NamespaceMode.POD, uids: mapping, gids: mapping };
let fixture: RuntimeFixture;
let unsupported: string | undefined;

before(async () => {
  fixture = await RuntimeFixture.start('userns', { entries: [{ path: 'srv/', mode: 0o755 }] });
  const { runtimeHandlers } = await fixture.cri.status({});
  if (!runtimeHandlers[0]?.features?.userNamespaces)
    unsupported = 'the kernel or the file system has no user namespaces with id-mapped mounts';
});

after(async () => {
  await fixture?.[Symbol.asyncDispose]();
});

const pod = (options: object = {}): Promise<TestPod> =>
  fixture.pod({
    linux: {
      securityContext: {
        namespaceOptions: { pid: NamespaceMode.CONTAINER, usernsOptions: podUsers, ...options },
      },
    },
  });

const refused = (usernsOptions: object, message: RegExp): Promise<void> =>
  assert.rejects(fixture.pod({ linux: { securityContext: { namespaceOptions: { usernsOptions } } } }), (error) => {
    assert.match((error as Error).message, message);
    assert.equal((error as { code?: string }).code, 'INVALID_ARGUMENT');
    return true;
  });

test('mappings that no pod can have are refused', async () => {
  await refused({ ...podUsers, uids: [...mapping, { containerId: 0, hostId: 2000, length: 5 }] }, /exactly one uid/);
  await refused({ ...podUsers, gids: [] }, /exactly one gid mapping, 0 are given/);
  await refused({ ...podUsers, uids: [{ containerId: 1, hostId, length: 5 }] }, /must begin with id 0/);
  await refused({ ...podUsers, uids: [{ containerId: 0, hostId, length: 0 }] }, /is empty/);
  await refused({ mode: NamespaceMode.CONTAINER }, /not CONTAINER/);
  await refused({ mode: NamespaceMode.TARGET }, /not TARGET/);
  await refused({ mode: NamespaceMode.NODE, uids: mapping }, /takes no id mappings/);
});

test('root of a pod is nobody outside, and owns its files, network, hostname and shared memory', async (t) => {
  if (unsupported) return t.skip(unsupported);
  const sandbox = await pod();
  const script = [
    'cat /proc/self/uid_map',
    'stat -c "%u:%g %n" / /bin /bin/busybox /srv /etc/hostname /dev/shm',
    'echo new > /srv/file && echo wrote; chown 5:7 /srv/file; rm /bin/top && echo removed',
    'hostname changed; hostname; ip link set lo down && ip link set lo up && echo network',
    'cat /proc/sys/net/ipv4/ip_unprivileged_port_start; touch /dev/shm/x && echo shm; exec sleep 1000',
  ].join('\n');
  const security = { capabilities: { addCapabilities: ['NET_ADMIN', 'SYS_ADMIN'] } };
  const containerId = await fixture.start(sandbox, ['sh', '-c', script], { linux: { securityContext: security } });
  assert.equal(await fixture.output(containerId, 'id', '-u'), '0');
  const log = () => fixture.log(containerId);
  await pollUntil('the end of the script', async () => (await log()).includes('shm'), { timeoutMs: 10_000 });
  const lines = (await log()).map((line) => line.trim().replace(/\s+/g, ' '));
  assert.deepEqual(lines, [
    `0 ${hostId} 65536`,
    '0:0 /',
    '0:0 /bin',
    '0:0 /bin/busybox',
    '0:0 /srv',
    '0:0 /etc/hostname',
    '0:0 /dev/shm',
    'wrote',
    'removed',
    'changed',
    'network',
    '0',
    'shm',
  ]);
  const { pid, runtimeSpec } = await fixture.details(containerId);
  assert.match(await readFile(`/proc/${pid}/status`, 'utf8'), new RegExp(`^Uid:\\s+${hostId}\\s`, 'm'));
  const written = await stat(join(runtimeSpec.root.path, 'srv/file'));
  assert.deepEqual([written.uid, written.gid], [hostId + 5, hostId + 7]);
  const { status } = await fixture.cri.podSandboxStatus({ podSandboxId: sandbox.id });
  assert.equal(status?.linux?.namespaces?.options?.usernsOptions?.uids[0]?.hostId, hostId);
});

test('a working directory that is missing belongs to root of the pod', async (t) => {
  if (unsupported) return t.skip(unsupported);
  const { output } = await fixture.runToEnd(await pod(), 'pwd; stat -c %u:%g /a /a/b', { workingDir: '/a/b' });
  assert.equal(output, '/a/b\n0:0\n0:0');
});

test('a shared PID namespace belongs to the pod, and PID 1 in it has nothing', async (t) => {
  if (unsupported) return t.skip(unsupported);
  const sandbox = await pod({ pid: NamespaceMode.POD });
  const [one, two] = [await fixture.start(sandbox, ['sleep', '1111']), await fixture.start(sandbox, ['sleep', '2222'])];
  const seen = await fixture.output(one, 'ps');
  assert.match(seen, /pause/);
  assert.match(seen, /sleep 2222/);
  assert.equal(await fixture.output(two, 'id', '-u'), '0');
  const { info } = await fixture.cri.podSandboxStatus({ podSandboxId: sandbox.id, verbose: true });
  const { pid } = JSON.parse(info.info ?? '{}') as { pid: number };
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  assert.match(status, new RegExp(`^Uid:\\s+${hostId}\\s`, 'm'));
  assert.match(status, /^CapEff:\s+0+$/m);
});

test('volumes show their files as the pod should see them, and keep them as they are', async (t) => {
  if (unsupported) return t.skip(unsupported);
  const sandbox = await pod();
  const volume = join(fixture.base, 'volume');
  await mkdir(volume);
  await writeFile(join(volume, 'roots'), 'a');
  await writeFile(join(fixture.base, 'one-file'), 'b');
  const mounts = [
    { containerPath: '/v', hostPath: volume, uidMappings: mapping, gidMappings: mapping },
    { containerPath: '/plain', hostPath: volume },
    { containerPath: '/f', hostPath: join(fixture.base, 'one-file'), uidMappings: mapping, gidMappings: mapping },
  ];
  const script =
    'exec 2>&1; stat -c %u /v/roots /f /plain/roots; echo x > /v/mine; echo y > /plain/no; chown 9 /v/mine; cat /f';
  const { output } = await fixture.runToEnd(sandbox, script, { mounts });
  assert.equal(output, "0\n0\n65534\nsh: can't create /plain/no: Permission denied\nb");
  assert.equal((await stat(join(volume, 'mine'))).uid, 9);
  await assert.rejects(
    fixture.create(sandbox, ['true'], {
      mounts: [{ containerPath: '/p', hostPath: '/proc', uidMappings: mapping, gidMappings: mapping }],
    }),
    /file system of \/proc cannot be shown with other owners/,
  );
  await fixture.cri.removePodSandbox({ podSandboxId: sandbox.id });
  assert.equal(await readFile(join(volume, 'roots'), 'utf8'), 'a');
});

test('a pod can have users of its own in the network of the node', async (t) => {
  if (unsupported) return t.skip(unsupported);
  const sandbox = await pod({ network: NamespaceMode.NODE });
  const { output } = await fixture.runToEnd(sandbox, 'cat /proc/self/uid_map; ls -d /sys/class/net/lo; touch /sys/x');
  assert.match(output, new RegExp(`0 +${hostId} +65536\n/sys/class/net/lo\ntouch: /sys/x: Read-only`));
  await assert.rejects(pod({ pid: NamespaceMode.NODE }), /cannot be in the host's PID namespace/);
});

test('devices and image volumes are there for the users of the pod', async (t) => {
  if (unsupported) return t.skip(unsupported);
  const { output } = await fixture.runToEnd(
    await pod(),
    'head -c 2 /dev/mine | wc -c; echo x >/dev/null && echo null; stat -c %u /image /image/bin/busybox; cat /image/etc/group | head -n1',
    {
      devices: [{ hostPath: '/dev/zero', containerPath: '/dev/mine', permissions: 'r' }],
      mounts: [{ containerPath: '/image', image: { image: 'busybox' }, readonly: true }],
    },
  );
  assert.equal(output, '2\nnull\n0\n0\nroot:x:0:');
});

test('a runtime that is killed finds its pods with users of their own again', async (t) => {
  if (unsupported) return t.skip(unsupported);
  const sandbox = await pod({ pid: NamespaceMode.POD });
  const mounts = [{ containerPath: '/v', hostPath: fixture.base, uidMappings: mapping, gidMappings: mapping }];
  const [running, waiting] = [
    await fixture.start(sandbox, ['sleep', '1000']),
    await fixture.create(sandbox, ['sh', '-c', 'stat -c %u /v; sleep 1000'], { mounts }),
  ];
  await fixture.endRuntime('SIGKILL');
  await fixture.startRuntime();
  assert.equal(await fixture.output(running, 'id', '-u'), '0');
  await fixture.cri.startContainer({ containerId: waiting });
  await pollUntil('its owner', async () => (await fixture.log(waiting))[0] === '0', { timeoutMs: 10_000 });
});

test('a container cannot have other users than its pod', async (t) => {
  if (unsupported) return t.skip(unsupported);
  const plain = await fixture.pod();
  const securityContext = { namespaceOptions: { pid: NamespaceMode.CONTAINER, usernsOptions: podUsers } };
  await assert.rejects(fixture.create(plain, ['true'], { linux: { securityContext } }), /must be that of its sandbox/);
});
