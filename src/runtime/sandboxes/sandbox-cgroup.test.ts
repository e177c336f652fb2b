import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { LinuxContainerResourcesSchema, NamespaceMode, PodSandboxConfigSchema } from '../../api/cri/index.ts';
import { cgroupPathOf, podResources } from './sandbox-cgroup.ts';
import { sandboxSysctls } from './sysctls.ts';

test('a slice is where systemd has it, other parents are paths', () => {
  assert.equal(
    cgroupPathOf('kubepods-burstable-pod1.slice'),
    '/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice',
  );
  assert.equal(cgroupPathOf('/test.slice'), '/test.slice');
  assert.equal(cgroupPathOf('/a.slice/a-b.slice'), '/a.slice/a-b.slice');
  assert.equal(cgroupPathOf('kubepods//besteffort/./pod1/'), '/kubepods/besteffort/pod1');
  for (const bad of ['..', '/', 'a/../../b', '-.slice', 'a--b.slice', '.slice'])
    assert.throws(() => cgroupPathOf(bad), /cgroup parent/, bad);
});

test('overhead comes on top of what the containers may use, and makes no limit where there is none', () => {
  const resources = create(LinuxContainerResourcesSchema, { cpuQuota: 50_000n, cpuPeriod: 50_000n, cpuShares: 512n });
  const overhead = create(LinuxContainerResourcesSchema, {
    cpuQuota: 10_000n,
    cpuPeriod: 100_000n,
    memoryLimitInBytes: 5n,
  });
  const sum = podResources(resources, overhead)!;
  assert.deepEqual([sum.cpuQuota, sum.cpuShares, sum.memoryLimitInBytes], [55_000n, 512n, 0n]);
  assert.equal(podResources(resources, undefined), resources);
});

const pod = (sysctls: Record<string, string>, network = NamespaceMode.POD) =>
  create(PodSandboxConfigSchema, { linux: { sysctls, securityContext: { namespaceOptions: { network } } } });

test('sysctls are named as sysctl(8) does, over the defaults, which the host does not get', () => {
  const defaults = { 'net.ipv4.ip_unprivileged_port_start': '0' };
  assert.deepEqual(sandboxSysctls(pod({ 'net/ipv4/conf/eth0.1/rp_filter': '1' }), defaults), {
    ...defaults,
    'net.ipv4.conf.eth0/1.rp_filter': '1',
  });
  assert.deepEqual(sandboxSysctls(pod({}, NamespaceMode.NODE), defaults), {});
  for (const name of ['vm.swappiness', 'kernel.hostname', 'kernel.shmall/../x', 'net', 'net.ipv4..x'])
    assert.throws(() => sandboxSysctls(pod({ [name]: '1' }), {}), /is not namespaced/, name);
});
