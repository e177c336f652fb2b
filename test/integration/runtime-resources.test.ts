import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { CgroupDriver, NamespaceMode } from '../../src/api/cri/index.ts';
import { pollUntil } from '../../src/async/index.ts';
import { openCgroups, removeCgroupTree, sharesToWeight } from '../../src/host/cgroups/index.ts';
import { RuntimeFixture, type TestPod } from '../support/runtime-fixture.ts';

const mebibyte = 1n << 20n;
const cgroups = openCgroups();
const v2 = cgroups.version === 'v2';
let fixture: RuntimeFixture;
let pod: TestPod;
let cdiDirectory = '';
let hooksDirectory = '';

before(async () => {
  const settings = { defaultUlimits: { nofile: { soft: 333, hard: 444 } } };
  fixture = await RuntimeFixture.start('resources', {
    settings,
    ownDirectories: { cdiSpecDirs: ['cdi'], hooksDirs: ['hooks'] },
  });
  [cdiDirectory, hooksDirectory] = [join(fixture.base, 'cdi'), join(fixture.base, 'hooks')];
  pod = await fixture.pod();
});

after(async () => {
  await fixture?.[Symbol.asyncDispose]();
});

/** The limits in force, as the kernel tells, in the words of v1. */
async function limitsOf(containerId: string) {
  const { cgroupPath } = await fixture.details(containerId);
  const file = (controller: string, name: string) => fixture.cgroupFile(controller, cgroupPath, name);
  if (!v2)
    return {
      memory: BigInt(file('memory', 'memory.limit_in_bytes')),
      quota: file('cpu', 'cpu.cfs_quota_us'),
      period: file('cpu', 'cpu.cfs_period_us'),
      shares: Number(file('cpu', 'cpu.shares')),
      cpus: file('cpuset', 'cpuset.cpus'),
    };
  const [quota, period] = file('cpu', 'cpu.max').split(' ');
  return {
    memory: BigInt(file('memory', 'memory.max')),
    quota,
    period,
    shares: Number(file('cpu', 'cpu.weight')),
    cpus: cgroups.mounts.has('cpuset') ? file('cpuset', 'cpuset.cpus') : '0',
  };
}

const shares = (value: number): number => (v2 ? sharesToWeight(value) : value);
const hasCpuset = cgroups.mounts.has('cpuset');

test('limits are what the cgroup has, before and after changes, and what the status says', async () => {
  const resources = {
    memoryLimitInBytes: 64n * mebibyte,
    cpuQuota: 50_000n,
    cpuPeriod: 100_000n,
    cpuShares: 512n,
    ...(hasCpuset ? { cpusetCpus: '0' } : {}),
  };
  const containerId = await fixture.create(pod, ['sleep', '1000'], { linux: { resources } });
  // Before it starts the limits can be changed too.
  await fixture.cri.updateContainerResources({ containerId, linux: { cpuShares: 256n } });
  await fixture.cri.startContainer({ containerId });
  const before = await limitsOf(containerId);
  assert.deepEqual(before, {
    memory: 64n * mebibyte,
    quota: '50000',
    period: '100000',
    shares: shares(256),
    cpus: '0',
  });
  for (const limit of [128n, 32n]) {
    const linux = { memoryLimitInBytes: limit * mebibyte };
    await fixture.cri.updateContainerResources({ containerId, linux, annotations: { why: 'test' } });
    assert.equal((await limitsOf(containerId)).memory, limit * mebibyte);
  }
  // A period alone keeps the quota.
  await fixture.cri.updateContainerResources({ containerId, linux: { cpuPeriod: 200_000n } });
  assert.deepEqual(await limitsOf(containerId), { ...before, memory: 32n * mebibyte, period: '200000' });
  const { resources: told } = await fixture.status(containerId);
  assert.deepEqual(
    [told?.linux?.memoryLimitInBytes, told?.linux?.cpuQuota, told?.linux?.cpuPeriod, told?.linux?.cpuShares],
    [32n * mebibyte, 50_000n, 200_000n, 256n],
  );
});

test('a refused change leaves the limits as they were', async () => {
  const resources = { memoryLimitInBytes: 64n * mebibyte, cpuQuota: 50_000n, cpuPeriod: 100_000n };
  const containerId = await fixture.start(pod, ['sleep', '1000'], { linux: { resources } });
  const before = await limitsOf(containerId);
  const tooLong = { memoryLimitInBytes: 70n * mebibyte, cpuPeriod: 900_000_000n };
  await assert.rejects(fixture.cri.updateContainerResources({ containerId, linux: tooLong }), /cannot set cpu/);
  assert.deepEqual(await limitsOf(containerId), before);
  const status = await fixture.status(containerId);
  assert.equal(status.resources?.linux?.memoryLimitInBytes, 64n * mebibyte);
});

test('limits that are none, or not for this machine, are refused before anything is made', async () => {
  const refused = (resources: object, message: RegExp) =>
    assert.rejects(fixture.create(pod, ['true'], { linux: { resources } }), message);
  await refused({ cpusetCpus: '0;rm' }, /cpusetCpus "0;rm" is not a list/);
  await refused({ memorySwapLimitInBytes: 5n }, /memorySwapLimitInBytes needs memoryLimitInBytes/);
  await refused({ memoryLimitInBytes: 64n, memorySwapLimitInBytes: 5n }, /cannot be below/);
  await refused({ cpuShares: -1n }, /cpuShares is -1/);
  await refused({ oomScoreAdj: 2000n }, /not between -1000 and 1000/);
  if (!v2) await refused({ unified: { 'memory.high': '5' } }, /unified cgroup setting memory.high needs cgroup v2/);
  else await refused({ unified: { '../x': '5' } }, /no file that limits something/);
  if (!cgroups.mounts.has('hugetlb'))
    await refused({ hugepageLimits: [{ pageSize: '2Mi', limit: 2n * mebibyte }] }, /no hugetlb cgroup controller/);
});

test('unified settings and swap are written on cgroup v2', async (t) => {
  if (!v2) return t.skip('this machine has cgroup v1');
  const resources = {
    memoryLimitInBytes: 64n * mebibyte,
    memorySwapLimitInBytes: 80n * mebibyte,
    unified: { 'memory.high': '50331648', 'pids.max': '77' },
  };
  const containerId = await fixture.start(pod, ['sleep', '1000'], { linux: { resources } });
  const { cgroupPath } = await fixture.details(containerId);
  const read = (name: string) => fixture.cgroupFile('unified', cgroupPath, name);
  assert.deepEqual(['memory.high', 'pids.max', 'memory.swap.max'].map(read), [
    '50331648',
    '77',
    String(16n * mebibyte),
  ]);
  await fixture.cri.updateContainerResources({ containerId, linux: { unified: { 'pids.max': '88' } } });
  assert.equal(read('pids.max'), '88');
  const own = 'cat /proc/self/cgroup; touch /sys/fs/cgroup/x 2>&1';
  assert.equal((await fixture.runToEnd(pod, own)).output, '0::/\ntouch: /sys/fs/cgroup/x: Read-only file system');
});

test('a container whose child is killed for want of memory, and that ends of it, was OOMKilled', async () => {
  const resources = { memoryLimitInBytes: 20n * mebibyte };
  const { status } = await fixture.runToEnd(
    pod,
    "sh -c 'x=a; while :; do x=$x$x$x$x; done'; echo the child ended with $?; exit 3",
    { linux: { resources } },
  );
  assert.deepEqual([status.reason, status.exitCode], ['OOMKilled', 3]);
});

test('oom_score_adj is what was asked for, or as near as this machine lets us', async () => {
  const own = Number(await readFile('/proc/self/oom_score_adj', 'utf8'));
  const adjusted = async (oomScoreAdj: bigint) =>
    Number(
      (await fixture.runToEnd(pod, 'cat /proc/self/oom_score_adj', { linux: { resources: { oomScoreAdj } } })).output,
    );
  assert.equal(await adjusted(BigInt(own + 10)), own + 10);
  const low = await adjusted(BigInt(own - 500));
  assert.ok(low === own - 500 || low === own, String(low));
});

test('limits of processes come from the settings', async () => {
  const { output } = await fixture.runToEnd(pod, 'ulimit -n; ulimit -Hn');
  assert.equal(output, '333\n444');
});

test('the cgroup of a pod: slices where systemd has them, limits with overhead, changes of a parent of its own', async () => {
  const slice = `dhtest${process.pid}-pod.slice`;
  const parent = `/dhtest${process.pid}.slice`;
  const { linux } = await fixture.cri.runtimeConfig({});
  assert.equal(linux?.cgroupDriver, CgroupDriver.CGROUPFS);
  const securityContext = { namespaceOptions: { pid: NamespaceMode.CONTAINER } };
  try {
    const sliced = await fixture.pod({ linux: { cgroupParent: slice, securityContext } });
    const containerId = await fixture.start(sliced, ['sleep', '1000']);
    const path = `${parent}/${slice}`;
    assert.equal((await fixture.details(containerId)).cgroupPath, `${path}/${containerId}`);
    const resources = { memoryLimitInBytes: 100n * mebibyte, cpuQuota: 20_000n, cpuPeriod: 100_000n };
    const overhead = { memoryLimitInBytes: 10n * mebibyte };
    await fixture.cri.updatePodSandboxResources({ podSandboxId: sliced.id, resources, overhead });
    const memory = fixture.cgroupFile('memory', path, v2 ? 'memory.max' : 'memory.limit_in_bytes');
    assert.equal(BigInt(memory), 110n * mebibyte);
    const second = await fixture.pod({ linux: { cgroupParent: slice, securityContext } });
    await assert.rejects(
      fixture.cri.updatePodSandboxResources({ podSandboxId: sliced.id, resources }),
      /is shared with sandbox/,
    );
    for (const { id } of [sliced, second]) await fixture.cri.removePodSandbox({ podSandboxId: id });
  } finally {
    await removeCgroupTree(parent);
  }
  for (const bad of ['a--b.slice', '../x', '/'])
    await assert.rejects(fixture.pod({ linux: { cgroupParent: bad, securityContext } }), /cgroup parent/);
});

test('a pod without a parent gets its limits when it is made', async () => {
  const resources = { memoryLimitInBytes: 100n * mebibyte };
  const overhead = { memoryLimitInBytes: 5n * mebibyte };
  const { id } = await fixture.pod({ linux: { resources, overhead } });
  const path = `${fixture.cgroupParent}/${id}`;
  const memory = fixture.cgroupFile('memory', path, v2 ? 'memory.max' : 'memory.limit_in_bytes');
  assert.equal(BigInt(memory), 105n * mebibyte);
});

test('stats tell what a container uses', async () => {
  const containerId = await fixture.start(pod, ['sh', '-c', 'dd if=/dev/zero of=/big bs=1M count=3; exec sleep 1000']);
  const stats = await pollUntil(
    'what was written',
    async () => {
      const found = (await fixture.cri.containerStats({ containerId })).stats!;
      return (found.writableLayer?.usedBytes?.value ?? 0n) >= 3n * mebibyte && found;
    },
    { timeoutMs: 30_000 },
  );
  assert.ok(stats.cpu!.usageCoreNanoSeconds!.value > 0n);
  assert.ok(stats.memory!.workingSetBytes!.value > 0n && stats.memory!.usageBytes!.value > 0n);
  assert.ok(stats.memory!.rssBytes !== undefined && stats.memory!.pageFaults!.value > 0n);
  assert.ok(stats.writableLayer!.inodesUsed!.value >= 1n);
  const { stats: whole } = await fixture.cri.podSandboxStats({ podSandboxId: pod.id });
  assert.ok(whole!.linux!.process!.processCount!.value >= 1n);
  assert.ok(whole!.linux!.containers.some(({ attributes }) => attributes?.id === containerId));
});

test('CDI devices bring what their specifications say, and unknown ones are refused', async () => {
  await mkdir(cdiDirectory, { recursive: true });
  const spec = {
    cdiVersion: '0.7.0',
    kind: 'example.test/gadget',
    containerEdits: { env: ['GADGETS=1'] },
    devices: [
      {
        name: 'zero',
        containerEdits: {
          env: ['ZERO=yes'],
          deviceNodes: [{ path: '/dev/gadget', hostPath: '/dev/zero', permissions: 'r' }],
          mounts: [{ hostPath: '/etc/hostname', containerPath: '/gadget-file', options: ['bind', 'ro'] }],
          additionalGids: [4711],
        },
      },
      { name: 'rdt', containerEdits: { intelRdt: { closID: 'x' } } },
    ],
  };
  await writeFile(join(cdiDirectory, 'gadget.json'), JSON.stringify(spec));
  await writeFile(join(cdiDirectory, 'broken.yaml'), 'cdiVersion: "9.9.9"\n');
  const script = 'echo $GADGETS $ZERO; head -c 3 /dev/gadget | wc -c; test -s /gadget-file && echo file; id -G';
  const byField = await fixture.runToEnd(pod, script, { CDIDevices: [{ name: 'example.test/gadget=zero' }] });
  assert.equal(byField.output, '1 yes\n3\nfile\n0 4711');
  const annotations = { 'cdi.k8s.io/plugin': 'example.test/gadget=zero' };
  assert.equal((await fixture.runToEnd(pod, script, { annotations })).output, byField.output);
  const refused = (name: string, message: RegExp) =>
    assert.rejects(fixture.create(pod, ['true'], { CDIDevices: [{ name }] }), message);
  await refused('example.test/gadget=one', /"example.test\/gadget=one" is in no file of .*broken.yaml \(cdiVersion/);
  await refused('gadget', /not of the form vendor\/class=name/);
  await refused('example.test/gadget=rdt', /Intel RDT/);
});

test('OCI hooks of a directory run in containers that they are for', async () => {
  await mkdir(hooksDirectory, { recursive: true });
  const [program, sign] = [join(hooksDirectory, 'sign.sh'), join(fixture.base, 'signed')];
  await writeFile(program, `#!/bin/sh\ncat >/dev/null\necho "$@" >> ${sign}\n`);
  await chmod(program, 0o755);
  const hook = {
    version: '1.0.0',
    hook: { path: program, args: ['sign.sh', 'here'] },
    when: { annotations: { '^sign$': '^yes$' } },
    stages: ['prestart'],
  };
  await writeFile(join(hooksDirectory, 'sign.json'), JSON.stringify(hook));
  await fixture.runToEnd(pod, 'true');
  await fixture.runToEnd(pod, 'true', { annotations: { sign: 'yes' } });
  assert.equal(await readFile(sign, 'utf8'), 'here\n');
  await writeFile(join(hooksDirectory, 'sign.json'), '{"version": "7"}');
  await assert.rejects(fixture.create(pod, ['true']), /OCI hook .*sign.json: version "7" is not known/);
  await writeFile(join(hooksDirectory, 'sign.json'), JSON.stringify({ ...hook, when: { always: false } }));
});
