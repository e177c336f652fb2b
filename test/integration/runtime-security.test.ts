import assert from 'node:assert/strict';
import { mkdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  type LinuxContainerSecurityContext,
  NamespaceMode,
  SecurityProfile_ProfileType as ProfileType,
  Signal,
  SupplementalGroupsPolicy,
} from '../../src/api/cri/index.ts';
import { programEntries } from '../support/images.ts';
import { RuntimeFixture, type TestPod } from '../support/runtime-fixture.ts';

let fixture: RuntimeFixture;
let plain: TestPod;
let privilegedPod: TestPod;

before(async () => {
  const passwd = 'root:x:0:0:root:/:/bin/sh\nweb:x:1000:50000:web:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n';
  const group = 'root:x:0:\nweb:x:50000:web\nextra:x:60000:web\nnogroup:x:65534:\n';
  fixture = await RuntimeFixture.start('security', {
    entries: [
      ...(await programEntries('/usr/bin/perl', 'bin/perl')),
      { path: 'etc/passwd', content: passwd },
      { path: 'etc/group', content: group },
    ],
    imageConfig: { Volumes: { '/data/': {}, '/tmp': {} }, StopSignal: '10' },
  });
  plain = await fixture.pod();
  privilegedPod = await fixture.pod({
    linux: { securityContext: { privileged: true, namespaceOptions: { pid: NamespaceMode.CONTAINER } } },
  });
});

after(async () => {
  await fixture?.[Symbol.asyncDispose]();
});

type Security = Partial<Omit<LinuxContainerSecurityContext, '$typeName' | '$unknown'>>;

/** What a script says in a container with this security context. */
const says = async (security: object, script: string, pod = plain): Promise<string> =>
  (await fixture.runToEnd(pod, `exec 2>&1; ${script}`, { linux: { securityContext: security as Security } })).output;

const refused = (security: object, message: RegExp, pod = plain): Promise<void> =>
  assert.rejects(
    fixture.create(pod, ['true'], { linux: { securityContext: security as Security } }),
    (error) => message.test((error as Error).message) || assert.fail((error as Error).message),
  );

test('PID 1 of a shared PID namespace is no door to the node, whatever capabilities a container has', async () => {
  const sandbox = await fixture.pod({ linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.POD } } } });
  const containerId = await fixture.start(sandbox, ['sleep', '1000'], {
    linux: { securityContext: { capabilities: { addCapabilities: ['ALL'] } } },
  });
  assert.equal(await fixture.output(containerId, 'sh', '-c', 'ls -A /proc/1/root/ && echo empty'), 'empty');
  const { info } = await fixture.cri.podSandboxStatus({ podSandboxId: sandbox.id, verbose: true });
  const { pid } = JSON.parse(info.info ?? '{}') as { pid: number };
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  assert.match(status, /^CapPrm:\s+0+$/m);
  assert.match(status, /^NoNewPrivs:\s+1$/m);
  for (const kind of ['net', 'ipc', 'uts', 'mnt', 'cgroup']) {
    const theirs = await fixture.output(containerId, 'readlink', `/proc/1/ns/${kind}`);
    assert.notEqual(theirs, await readlink(`/proc/self/ns/${kind}`), kind);
  }
});

/** System calls by number (x86-64), with arguments that the kernel itself answers otherwise than the filter does. */
const systemCalls = {
  keyctl: '250, -1, 0, 0',
  add_key: '248, 0, 0, 0, 0, 0',
  mount: '165, 0, 0, 0, 0, 0',
  unshare: '272, 0',
  setns: '308, -1, 0',
  io_uring_setup: '425, 1, 0',
  userfaultfd: '323, -1',
  bpf: '321, 999, 0, 0',
  kcmp: '312, 999999, 999999, 0, 0, 0',
  clone3: '435, 0, 0',
  personality_now: '135, 0xffffffff',
  personality_fixed: '135, 0x0040000',
  vsock: '41, 40, 1, 0',
  ptrace: '101, 0, 0, 0, 0',
} as const;

const probe = (names: readonly (keyof typeof systemCalls)[]): string =>
  `perl -e '${names
    .map((name) => `$! = 0; $r = syscall(${systemCalls[name]}); print "${name} ", ($r == -1 ? $!+0 : "ok"), "\\n";`)
    .join(' ')}'`;

const runtimeDefault = { seccomp: { profileType: ProfileType.RuntimeDefault } };
const all = Object.keys(systemCalls) as (keyof typeof systemCalls)[];

test('RuntimeDefault refuses system calls that containers have no business with, and those of missing capabilities', async (t) => {
  if (process.arch !== 'x64') return t.skip('the system calls are numbered for x86-64');
  const confined = (await says(runtimeDefault, probe(all))).split('\n');
  const [refusedByFilter, notThere] = ['1', '38'];
  const expected = all.map((name) => {
    if (name === 'clone3') return `${name} ${notThere}`;
    return ['personality_now', 'ptrace'].includes(name) ? `${name} ok` : `${name} ${refusedByFilter}`;
  });
  assert.deepEqual(confined, expected);
  const capabilities = { addCapabilities: ['SYS_ADMIN', 'BPF', 'SYS_PTRACE'] };
  const granted = (await says({ ...runtimeDefault, capabilities }, probe(all))).split('\n');
  for (const name of ['mount', 'unshare', 'setns', 'bpf', 'kcmp'] as const)
    assert.ok(!granted.includes(`${name} 1`) && granted.some((line) => line.startsWith(`${name} `)), name);
  for (const name of ['keyctl', 'add_key', 'personality_fixed'] as const)
    assert.ok(granted.includes(`${name} 1`), name);
});

test('without a profile, unconfined or privileged, nothing filters', async (t) => {
  if (process.arch !== 'x64') return t.skip('the system calls are numbered for x86-64');
  const script = `grep Seccomp: /proc/self/status; ${probe(['keyctl', 'unshare'])}`;
  for (const security of [{}, { seccomp: { profileType: ProfileType.Unconfined } }])
    assert.match(await says(security, script), /Seccomp:\t0\nkeyctl (?!1\b)\d+\nunshare ok/);
  const privileged = await says({ privileged: true, ...runtimeDefault }, script, privilegedPod);
  assert.match(privileged, /Seccomp:\t0\n/);
});

test('a Localhost profile is read from its file, and must be there', async () => {
  const directory = join(fixture.base, 'profiles');
  await mkdir(directory);
  const file = join(directory, 'no-mkdir.json');
  const rule = { names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 13 };
  await writeFile(file, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [rule] }));
  const local = (localhostRef: string) => ({ seccomp: { profileType: ProfileType.Localhost, localhostRef } });
  assert.match(
    await says(local(file), 'mkdir /made; grep Seccomp: /proc/self/status'),
    /Permission denied\nSeccomp:\t2/,
  );
  await refused(local(join(directory, 'none.json')), /failed to load seccomp profile ".*none.json"/);
  await refused(local(''), /names no file/);
});

const capabilitySets = "grep -E 'Cap(Prm|Eff|Bnd|Amb)' /proc/self/status";

test('capabilities: names with and without prefix, all, none, ambient ones for other users', async () => {
  const none = await says({ capabilities: { dropCapabilities: ['ALL'] } }, capabilitySets);
  assert.equal((none.match(/0000000000000000/g) ?? []).length, 4);
  const one = await says(
    { capabilities: { dropCapabilities: ['all'], addCapabilities: ['cap_net_raw', 'CHOWN'] } },
    capabilitySets,
  );
  assert.match(one, /CapBnd:\t0000000000002001/);
  const ambient = { capabilities: { addAmbientCapabilities: ['NET_BIND_SERVICE'] }, runAsUser: { value: 1000n } };
  const low = await fixture.pod({
    linux: {
      sysctls: { 'net.ipv4.ip_unprivileged_port_start': '1024' },
      securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } },
    },
  });
  const listen = `perl -e 'socket(S, 2, 1, 0); print bind(S, pack("S n a4 x8", 2, 80, "")) ? "listens" : $!'`;
  assert.match(await says(ambient, `${capabilitySets}; ${listen}`, low), /CapAmb:\t0000000000000400\n(.*\n)*listens/);
  assert.doesNotMatch(await says({ runAsUser: { value: 1000n } }, listen, low), /listens/);
  await refused({ capabilities: { addCapabilities: ['FLY'] } }, /unknown capability "CAP_FLY"/);
});

test('users come from the files of the image, with the groups that the policy says', async () => {
  const id = (security: object) => says(security, 'id');
  assert.equal(await id({ runAsUsername: 'web' }), 'uid=1000(web) gid=50000(web) groups=50000(web),60000(extra)');
  const strict = { runAsUser: { value: 1000n }, supplementalGroups: [7n], supplementalGroupsPolicy: 1 };
  assert.equal(strict.supplementalGroupsPolicy, SupplementalGroupsPolicy.Strict);
  assert.equal(await id(strict), 'uid=1000(web) gid=50000(web) groups=7,50000(web)');
  assert.equal(await id({ runAsUser: { value: 77n }, runAsGroup: { value: 88n } }), 'uid=77 gid=88 groups=88');
  await refused({ runAsGroup: { value: 1n } }, /user group is specified without user/);
  await refused({ runAsUsername: 'nobody-knows' }, /user "nobody-knows" is not in the image's \/etc\/passwd/);
});

test('no new privileges, read-only root, masked and read-only paths', async () => {
  assert.match(await says({ noNewPrivs: true }, 'grep NoNewPrivs /proc/self/status'), /NoNewPrivs:\t1/);
  assert.match(await says({ readonlyRootfs: true }, 'touch /x'), /Read-only file system/);
  const paths = { maskedPaths: ['/proc/timer_list', '/etc/passwd', '/srv/none'], readonlyPaths: ['/proc/sys'] };
  const script = 'wc -c </etc/passwd; echo x >/proc/sys/kernel/domainname';
  assert.match(await says(paths, script), /^0\n.*Read-only file system/);
  const privileged = { ...paths, privileged: true };
  const seen = await says(
    privileged,
    'wc -c </etc/passwd; ls /dev/kmsg; touch /sys/fs/cgroup/* && echo rw',
    privilegedPod,
  );
  assert.match(seen, /^\d\d+\n\/dev\/kmsg/);
  assert.match(seen, /rw/);
  assert.match(await says({}, 'mount | grep " /dev/shm "'), /rw,nosuid,nodev,noexec/);
  await refused({ privileged: true }, /no privileged container allowed in sandbox/);
});

test('volumes that the image declares are there, and can be written to under a read-only root', async () => {
  const script = 'touch /data/x /tmp/x && echo wrote; touch /x; ls -d /data';
  assert.equal(await says({}, script), 'wrote\n/data');
  assert.match(await says({ readonlyRootfs: true }, script), /^wrote\ntouch: \/x: Read-only/);
  const { containerId } = await fixture.runToEnd(plain, 'cat /etc/hosts >/data/hosts');
  assert.equal((await fixture.status(containerId)).stopSignal, Signal.SIGUSR1);
  assert.match(await says({}, 'cat /etc/hosts'), /^127\.0\.0\.1\s+localhost/);
});

test('AppArmor and SELinux are refused by name where the kernel has none', async (t) => {
  const enabled = await readFile('/sys/module/apparmor/parameters/enabled', 'utf8').catch(() => 'N');
  if (enabled.startsWith('Y')) return t.skip('this kernel has AppArmor');
  const profile = { profileType: ProfileType.Localhost, localhostRef: 'mine' };
  await refused({ apparmor: profile }, /AppArmor profile "mine" is asked for, but AppArmor is not enabled/);
  await refused({ apparmorProfile: 'localhost/mine' }, /AppArmor profile "mine"/);
  await refused({ selinuxOptions: { level: 's0:c1' } }, /SELinux is not enabled/);
  assert.equal(await says({ apparmor: { profileType: ProfileType.RuntimeDefault } }, 'echo runs'), 'runs');
});

test('namespaces: what cannot be is refused, a target must be in the same pod', async () => {
  const pidOf = (pid: NamespaceMode, targetId = '') => ({ namespaceOptions: { pid, targetId } });
  const containerId = await fixture.start(plain, ['sleep', '4321']);
  const joined = await says(pidOf(NamespaceMode.TARGET, containerId), 'ps');
  assert.match(joined, /1 root +sleep 4321/);
  await refused(pidOf(NamespaceMode.TARGET), /needs the id of a target container/);
  await refused(pidOf(NamespaceMode.TARGET, containerId), /is not in the sandbox/, privilegedPod);
  await refused({ namespaceOptions: { network: NamespaceMode.NODE } }, /asks for the host's network namespace/);
  const node = await says(pidOf(NamespaceMode.NODE), 'readlink /proc/self/ns/pid');
  assert.equal(node, await readlink('/proc/self/ns/pid'));
});

test('sysctls go into the namespaces of the pod, and others are refused', async () => {
  const namespaceOptions = { pid: NamespaceMode.CONTAINER };
  const sysctls = {
    'net.core.somaxconn': '333',
    'net/ipv4/conf/lo/forwarding': '1',
    'kernel.shm_rmid_forced': '1',
    'fs.mqueue.msg_max': '22',
    'kernel.msgmax': '4096',
  };
  const pod = await fixture.pod({ linux: { sysctls, securityContext: { namespaceOptions } } });
  const read = Object.keys(sysctls).map((name) => `/proc/sys/${name.replaceAll('.', '/')}`);
  assert.equal(await says({}, `cat ${read.join(' ')}`, pod), '333\n1\n1\n22\n4096');
  const refusedPod = (name: string, options: object, message: RegExp) =>
    assert.rejects(
      fixture.pod({ linux: { sysctls: { [name]: '1' }, securityContext: { namespaceOptions: options } } }),
      message,
    );
  await refusedPod('vm.swappiness', namespaceOptions, /sysctl vm.swappiness is not namespaced/);
  await refusedPod('net.core.somaxconn', { network: NamespaceMode.NODE }, /cannot be set in the host's network/);
  await refusedPod('kernel.sem', { ipc: NamespaceMode.NODE }, /cannot be set in the host's IPC/);
  await refusedPod('kernel.shm../../../x', namespaceOptions, /not namespaced/);
  await refusedPod('net.no.such', namespaceOptions, /cannot set sysctl net.no.such=1/);
});
