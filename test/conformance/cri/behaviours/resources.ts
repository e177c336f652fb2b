import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import type { Topic } from '../behaviour.ts';
import { cgroupOf, cgroupValue } from '../cgroups.ts';
import type { Container, ContainerConfig } from '../cri.ts';
import { fails, refused } from '../expect.ts';

type Resources = NonNullable<NonNullable<ContainerConfig['linux']>['resources']>;
const limited = (resources: Resources): ContainerConfig => ({ linux: { resources } });
const pidOf = async (container: Container) => (await container.info()).pid;
const mebibytes = (count: number) => BigInt(count) << 20n;

const memory = (pid: number) => cgroupValue(pid, 'memory', { v1: 'memory.limit_in_bytes', v2: 'memory.max' });
const quota = (pid: number) => cgroupValue(pid, 'cpu', { v1: 'cpu.cfs_quota_us', v2: 'cpu.max' }).split(' ')[0];
const period = (pid: number) => {
  const value = cgroupValue(pid, 'cpu', { v1: 'cpu.cfs_period_us', v2: 'cpu.max' }).split(' ');
  return value.at(-1);
};
/** Shares as v1 has them; v2 keeps a weight: the two formulas in use differ a little. */
const shares = (pid: number) => {
  const value = Number(cgroupValue(pid, 'cpu', { v1: 'cpu.shares', v2: 'cpu.weight' }));
  return existsSync('/sys/fs/cgroup/cgroup.controllers') ? Math.round(((value - 1) * 262_142) / 9999 + 2) : value;
};

/** Limits, when a container is made and later. */
export const resources: Topic = [
  'resources',
  [
    {
      name: 'memory and CPU are limited, and the status tells it',
      async run(cri) {
        await using pod = await cri.pod();
        const asked = { memoryLimitInBytes: mebibytes(64), cpuQuota: 20_000n, cpuPeriod: 100_000n, cpuShares: 512n };
        const container = await pod.run(limited(asked));
        const pid = await pidOf(container);
        assert.deepEqual([memory(pid), quota(pid), period(pid)], [String(mebibytes(64)), '20000', '100000']);
        assert.ok(Math.abs(shares(pid) - 512) < 40, `shares ${shares(pid)}`);
        if (!cri.features.has('runtime-config')) return;
        const { linux } = (await container.status()).resources!;
        assert.deepEqual(
          [linux!.memoryLimitInBytes, linux!.cpuQuota, linux!.cpuPeriod, linux!.cpuShares],
          [mebibytes(64), 20_000n, 100_000n, 512n],
        );
      },
    },
    {
      name: 'limits change while a container runs',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run(
          limited({ memoryLimitInBytes: mebibytes(64), cpuQuota: 20_000n, cpuPeriod: 100_000n }),
        );
        const pid = await pidOf(container);
        const linux = { memoryLimitInBytes: mebibytes(128), cpuQuota: 50_000n, cpuPeriod: 100_000n, cpuShares: 256n };
        await cri.runtime.updateContainerResources({ containerId: container.id, linux });
        assert.deepEqual([memory(pid), quota(pid)], [String(mebibytes(128)), '50000']);
        assert.ok(Math.abs(shares(pid) - 256) < 40);
        if (cri.features.has('runtime-config'))
          assert.equal((await container.status()).resources!.linux!.memoryLimitInBytes, mebibytes(128));
      },
    },
    {
      name: 'what an update does not name stays',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run(limited({ memoryLimitInBytes: mebibytes(64), cpuShares: 512n }));
        const pid = await pidOf(container);
        await cri.runtime.updateContainerResources({ containerId: container.id, linux: { cpuShares: 1024n } });
        assert.equal(memory(pid), String(mebibytes(64)));
        assert.ok(Math.abs(shares(pid) - 1024) < 80);
      },
    },
    {
      name: 'limits change before a container starts',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.create(limited({ memoryLimitInBytes: mebibytes(64) }));
        await cri.runtime.updateContainerResources({
          containerId: container.id,
          linux: { memoryLimitInBytes: mebibytes(96) },
        });
        await container.start();
        assert.equal(memory(await pidOf(container)), String(mebibytes(96)));
      },
    },
    {
      name: 'an update of what is not there, or has ended, or says nothing is refused',
      async run(cri) {
        await using pod = await cri.pod();
        const update = (containerId: string, linux?: Resources) =>
          cri.runtime.updateContainerResources({ containerId, ...(linux ? { linux } : {}) });
        await fails(update('nothing', { cpuShares: 2n }), ['NOT_FOUND']);
        if (!cri.features.has('deckhand')) return;
        const container = await pod.run({ command: ['true'] });
        await container.exited();
        await fails(update(container.id, { cpuShares: 2n }), refused);
        await fails(update(container.id), refused);
      },
    },
    {
      name: 'CPUs and memory nodes are picked, and changed',
      needs: ['cpuset'],
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run(limited({ cpusetCpus: '0', cpusetMems: '0' }));
        const pid = await pidOf(container);
        const cpus = () => /^Cpus_allowed_list:\t(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1];
        assert.equal(cpus(), '0');
        if (!existsSync('/sys/devices/system/cpu/cpu1')) return;
        await cri.runtime.updateContainerResources({ containerId: container.id, linux: { cpusetCpus: '1' } });
        assert.equal(cpus(), '1');
      },
    },
    {
      name: 'huge pages are limited',
      needs: ['hugepages'],
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run(limited({ hugepageLimits: [{ pageSize: '2MB', limit: mebibytes(4) }] }));
        const files = { v1: 'hugetlb.2MB.limit_in_bytes', v2: 'hugetlb.2MB.max' };
        assert.equal(cgroupValue(await pidOf(container), 'hugetlb', files), String(mebibytes(4)));
      },
    },
    {
      name: 'swap is limited together with memory',
      needs: ['swap'],
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run(
          limited({ memoryLimitInBytes: mebibytes(64), memorySwapLimitInBytes: mebibytes(80) }),
        );
        const value = cgroupValue(await pidOf(container), 'memory', {
          v1: 'memory.memsw.limit_in_bytes',
          v2: 'memory.swap.max',
        });
        assert.ok([String(mebibytes(80)), String(mebibytes(16))].includes(value), value);
      },
    },
    {
      name: 'the score that decides who dies first for want of memory',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run(limited({ oomScoreAdj: 777n }));
        assert.equal(await container.sh('cat /proc/1/oom_score_adj'), '777');
      },
    },
    {
      name: 'files of cgroup v2 by name: set, and changed',
      needs: ['cgroup-v2'],
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run(limited({ unified: { 'memory.high': '50331648', 'pids.max': '77' } }));
        const pid = await pidOf(container);
        const value = (file: string) => readFileSync(`${cgroupOf(pid, '')}/${file}`, 'utf8').trim();
        assert.deepEqual([value('memory.high'), value('pids.max')], ['50331648', '77']);
        await cri.runtime.updateContainerResources({
          containerId: container.id,
          linux: { unified: { 'memory.high': '41943040' } },
        });
        assert.equal(value('memory.high'), '41943040');
      },
    },
    {
      name: 'files of cgroup v2 where there is v1 are refused',
      needs: ['cgroup-v1', 'deckhand'],
      async run(cri) {
        await using pod = await cri.pod();
        await fails(pod.run(limited({ unified: { 'memory.high': '50331648' } })), refused, /unified|cgroup v2/);
      },
    },
    {
      name: 'a limit that no kernel takes is an error, and leaves nothing',
      async run(cri) {
        await using pod = await cri.pod();
        await fails(pod.run(limited({ cpusetCpus: '4095' })), refused);
        await fails(pod.run(limited({ cpuQuota: 1n, cpuPeriod: 100_000n })), refused);
        await pod.run();
      },
    },
    {
      name: 'the limits of a sandbox are those of its cgroup, and change in place',
      needs: ['sandbox-resources', 'deckhand'],
      async run(cri) {
        await using pod = await cri.pod({
          linux: { resources: { memoryLimitInBytes: mebibytes(200), cpuQuota: 30_000n, cpuPeriod: 100_000n } },
        });
        const pid = await pidOf(await pod.run());
        const above = (controller: string) => cgroupOf(pid, controller).replace(/\/[^/]+$/, '');
        const version2 = cri.features.has('cgroup-v2');
        const read = (controller: string, v1: string, v2: string) =>
          readFileSync(`${above(controller)}/${version2 ? v2 : v1}`, 'utf8')
            .trim()
            .split(' ')[0];
        const limits = () => [
          read('memory', 'memory.limit_in_bytes', 'memory.max'),
          read('cpu', 'cpu.cfs_quota_us', 'cpu.max'),
        ];
        assert.deepEqual(limits(), [String(mebibytes(200)), '30000']);
        const resources = { memoryLimitInBytes: mebibytes(220), cpuQuota: 40_000n, cpuPeriod: 100_000n };
        await cri.runtime.updatePodSandboxResources({ podSandboxId: pod.id, resources });
        assert.deepEqual(limits(), [String(mebibytes(220)), '40000']);
      },
    },
    {
      name: 'the resources of a sandbox that is not there cannot be updated',
      needs: ['sandbox-resources'],
      async run(cri) {
        await fails(cri.runtime.updatePodSandboxResources({ podSandboxId: 'nothing', resources: { cpuShares: 2n } }), [
          'NOT_FOUND',
        ]);
      },
    },
    {
      name: 'processes are limited',
      needs: ['cgroup-v2'],
      async run(cri) {
        await using pod = await cri.pod();
        const script = 'n=0; while [ $n -lt 60 ]; do sleep 30 & n=$((n+1)); done; echo all';
        const { status, output } = await pod.script(script, limited({ unified: { 'pids.max': '20' } }));
        assert.notEqual(status.exitCode, 0);
        assert.match(output, /fork/);
        assert.doesNotMatch(output, /all/);
      },
    },
  ],
];
