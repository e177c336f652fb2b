import { existsSync } from 'node:fs';
import type { LinuxContainerResources } from '../../../api/cri/index.ts';
import type { CgroupLimits, CgroupTree } from '../../../host/cgroups/index.ts';
import { invalid } from '../../errors.ts';
import type { OciResources } from './oci-spec.ts';

/** What the control groups of this machine can limit. */
export interface MachineResources {
  /** cgroup v2 and nothing else. */
  unified: boolean;
  swap: boolean;
  hugepages: boolean;
}

/** Finds out what the control groups of this machine can limit. */
export function machineResources(cgroups: CgroupTree): MachineResources {
  const unified = cgroups.version === 'v2';
  const memory = cgroups.mounts.get('memory') ?? '';
  return {
    unified,
    swap: unified || existsSync(`${memory}/memory.memsw.limit_in_bytes`),
    hugepages: cgroups.mounts.has('hugetlb'),
  };
}

/** Refuses limits that are none, or that this machine cannot set. @throws RuntimeError INVALID_ARGUMENT naming the field */
export function checkResources(resources: LinuxContainerResources | undefined, machine: MachineResources): void {
  if (!resources) return;
  for (const field of ['cpuPeriod', 'cpuShares', 'memoryLimitInBytes'] as const)
    if (resources[field] < 0n) throw invalid(`${field} is ${resources[field]}: it cannot be negative`);
  if (resources.oomScoreAdj < -1000n || resources.oomScoreAdj > 1000n)
    throw invalid(`oomScoreAdj ${resources.oomScoreAdj} is not between -1000 and 1000`);
  for (const field of ['cpusetCpus', 'cpusetMems'] as const)
    if (!/^(\d+(-\d+)?(,\d+(-\d+)?)*)?$/.test(resources[field]))
      throw invalid(`${field} "${resources[field]}" is not a list such as 0-2,4`);
  checkSwap(resources, machine);
  const pages = resources.hugepageLimits.find(({ limit }) => limit > 0n);
  if (pages && !machine.hugepages)
    throw invalid(`huge pages (${pages.pageSize}) cannot be limited: this machine has no hugetlb cgroup controller`);
  for (const { pageSize } of resources.hugepageLimits)
    if (!/^\d+[KMG]i?B?$/.test(pageSize)) throw invalid(`huge page size "${pageSize}" is not of the form 2Mi`);
  const [file] = Object.keys(resources.unified);
  if (file !== undefined && !machine.unified)
    throw invalid(`unified cgroup setting ${file} needs cgroup v2, and this machine has v1`);
  for (const name of Object.keys(resources.unified))
    if (!/^[a-z]+\.[\w.]+$/.test(name) || name.startsWith('cgroup.'))
      throw invalid(`unified cgroup setting "${name}" is no file that limits something`);
}

function checkSwap({ memorySwapLimitInBytes, memoryLimitInBytes }: LinuxContainerResources, machine: MachineResources) {
  if (memorySwapLimitInBytes <= 0n) return;
  if (memoryLimitInBytes === 0n) throw invalid('memorySwapLimitInBytes needs memoryLimitInBytes');
  if (memorySwapLimitInBytes < memoryLimitInBytes)
    throw invalid('memorySwapLimitInBytes is memory and swap together: it cannot be below memoryLimitInBytes');
  if (!machine.swap && memorySwapLimitInBytes > memoryLimitInBytes)
    throw invalid('swap cannot be limited: this kernel has no swap accounting');
}

/** The CRI's limits as the OCI specification says them; a zero means that nothing is asked for. */
export function ociResources(
  resources: LinuxContainerResources | undefined,
  machine: MachineResources,
): Omit<OciResources, 'devices'> {
  if (!resources) return {};
  const { cpuShares, cpuQuota, cpuPeriod, cpusetCpus, cpusetMems } = resources;
  const limit = Number(resources.memoryLimitInBytes);
  const swap = Number(resources.memorySwapLimitInBytes) || limit;
  const result: Omit<OciResources, 'devices'> = {
    cpu: {
      ...(cpuShares ? { shares: Number(cpuShares) } : {}),
      ...(cpuQuota ? { quota: Number(cpuQuota) } : {}),
      ...(cpuPeriod ? { period: Number(cpuPeriod) } : {}),
      ...(cpusetCpus ? { cpus: cpusetCpus } : {}),
      ...(cpusetMems ? { mems: cpusetMems } : {}),
    },
  };
  if (limit) result.memory = { limit, ...(machine.swap ? { swap } : {}) };
  if (machine.hugepages && resources.hugepageLimits.length > 0)
    result.hugepageLimits = resources.hugepageLimits.map(({ pageSize, limit }) => ({
      pageSize: withUnit(pageSize),
      limit: Number(limit),
    }));
  if (Object.keys(resources.unified).length > 0) result.unified = { ...resources.unified };
  return result;
}

/** `2Mi` and `2M` as `2MB`. */
const withUnit = (pageSize: string): string => `${pageSize.replace(/i?B?$/, '')}B`;

/** The CRI's limits as changes to a cgroup. */
export function cgroupLimits(resources: LinuxContainerResources): CgroupLimits {
  const some = (value: bigint): number | undefined => (value ? Number(value) : undefined);
  const memoryBytes = some(resources.memoryLimitInBytes);
  return {
    cpuShares: some(resources.cpuShares),
    cpuQuotaUs: some(resources.cpuQuota),
    cpuPeriodUs: some(resources.cpuPeriod),
    memoryBytes,
    memoryAndSwapBytes: some(resources.memorySwapLimitInBytes) ?? memoryBytes,
    cpusetCpus: resources.cpusetCpus || undefined,
    cpusetMems: resources.cpusetMems || undefined,
    hugepages: resources.hugepageLimits.map(({ pageSize, limit }) => ({ pageSize: withUnit(pageSize), bytes: limit })),
    unified: resources.unified,
  };
}

/**
 * What an update changes of a cgroup. Limits that the kernel keeps together (quota and period, memory and swap) are
 * all set when one of them is asked for.
 */
export function limitChanges(asked: LinuxContainerResources, merged: LinuxContainerResources): CgroupLimits {
  const all = cgroupLimits(merged);
  const own = cgroupLimits(asked);
  const cpu = own.cpuQuotaUs !== undefined || own.cpuPeriodUs !== undefined;
  const memory = asked.memoryLimitInBytes !== 0n || asked.memorySwapLimitInBytes !== 0n;
  return {
    ...own,
    ...(cpu ? { cpuQuotaUs: all.cpuQuotaUs, cpuPeriodUs: all.cpuPeriodUs } : {}),
    ...(memory
      ? { memoryBytes: all.memoryBytes, memoryAndSwapBytes: all.memoryAndSwapBytes }
      : { memoryBytes: undefined, memoryAndSwapBytes: undefined }),
  };
}

/** Takes over what an update sets and keeps the rest. */
export function mergeResources(
  before: LinuxContainerResources | undefined,
  update: LinuxContainerResources,
): LinuxContainerResources {
  if (!before) return update;
  const merged = { ...before };
  for (const key of [
    'cpuPeriod',
    'cpuQuota',
    'cpuShares',
    'memoryLimitInBytes',
    'memorySwapLimitInBytes',
    'oomScoreAdj',
  ] as const)
    if (update[key] !== 0n) merged[key] = update[key];
  // Another memory limit alone leaves the part of swap as it is.
  if (update.memoryLimitInBytes > 0n && update.memorySwapLimitInBytes === 0n && before.memorySwapLimitInBytes > 0n)
    merged.memorySwapLimitInBytes =
      update.memoryLimitInBytes + before.memorySwapLimitInBytes - before.memoryLimitInBytes;
  if (update.cpusetCpus) merged.cpusetCpus = update.cpusetCpus;
  if (update.cpusetMems) merged.cpusetMems = update.cpusetMems;
  const sizes = new Map([...before.hugepageLimits, ...update.hugepageLimits].map((one) => [one.pageSize, one]));
  merged.hugepageLimits = [...sizes.values()];
  merged.unified = { ...before.unified, ...update.unified };
  return merged;
}
