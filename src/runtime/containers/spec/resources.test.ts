import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { LinuxContainerResourcesSchema } from '../../../api/cri/index.ts';
import { checkResources, limitChanges, mergeResources, ociResources } from './resources.ts';

type Init = MessageInitShape<typeof LinuxContainerResourcesSchema>;
const resources = (init: Init) => create(LinuxContainerResourcesSchema, init);
const machine = { unified: false, swap: true, hugepages: true };

test('quota and period, memory and swap go together in changes', () => {
  const before = resources({ cpuQuota: 5n, cpuPeriod: 10n, memoryLimitInBytes: 100n, memorySwapLimitInBytes: 150n });
  const asked = resources({ cpuPeriod: 20n });
  const changes = limitChanges(asked, mergeResources(before, asked));
  assert.deepEqual([changes.cpuQuotaUs, changes.cpuPeriodUs, changes.memoryBytes], [5, 20, undefined]);
  const more = resources({ memoryLimitInBytes: 300n });
  const merged = mergeResources(before, more);
  assert.equal(merged.memorySwapLimitInBytes, 350n);
  assert.deepEqual(limitChanges(more, merged).memoryAndSwapBytes, 350);
});

test('huge pages of one size are changed, others stay', () => {
  const before = resources({
    hugepageLimits: [
      { pageSize: '2Mi', limit: 2n },
      { pageSize: '1Gi', limit: 3n },
    ],
  });
  const merged = mergeResources(before, resources({ hugepageLimits: [{ pageSize: '2Mi', limit: 4n }] }));
  assert.deepEqual(
    merged.hugepageLimits.map(({ limit }) => limit),
    [4n, 3n],
  );
  assert.deepEqual(ociResources(before, machine).hugepageLimits, [
    { pageSize: '2MB', limit: 2 },
    { pageSize: '1GB', limit: 3 },
  ]);
  assert.equal(ociResources(before, { ...machine, hugepages: false }).hugepageLimits, undefined);
});

test('what is no limit here is refused by name', () => {
  const refused = (init: Init, message: RegExp, more: Partial<typeof machine> = {}) =>
    assert.throws(() => checkResources(resources(init), { ...machine, ...more }), message);
  refused({ unified: { 'memory.high': '1' } }, /memory.high needs cgroup v2/);
  refused({ unified: { '../../x': '1' } }, /no file that limits/, { unified: true });
  refused({ unified: { 'cgroup.kill': '1' } }, /no file that limits/, { unified: true });
  refused({ memorySwapLimitInBytes: 5n }, /needs memoryLimitInBytes/);
  refused({ memoryLimitInBytes: 4n, memorySwapLimitInBytes: 5n }, /no swap accounting/, { swap: false });
  refused({ hugepageLimits: [{ pageSize: '2Mi', limit: 1n }] }, /no hugetlb/, { hugepages: false });
  refused({ hugepageLimits: [{ pageSize: '../2', limit: 0n }] }, /page size/);
  checkResources(resources({ memoryLimitInBytes: 4n, memorySwapLimitInBytes: 4n }), { ...machine, swap: false });
  checkResources(resources({ cpuQuota: -1n, memorySwapLimitInBytes: -1n, cpusetCpus: '0-3,5' }), machine);
});
