import { existsSync } from 'node:fs';
import type { LinuxContainerResources } from '../../../api/cri/index.ts';
import type { CgroupLimits } from '../../../host/cgroups/index.ts';
import type { OciResources } from './oci-spec.ts';

/** Whether the kernel can limit swap of a v1 cgroup. */
const swapAccounting = (): boolean =>
  existsSync('/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes') || existsSync('/sys/fs/cgroup/cgroup.controllers');

/** The CRI's limits as the OCI specification says them; a zero means that nothing is asked for. */
export function ociResources(resources: LinuxContainerResources | undefined): Omit<OciResources, 'devices'> {
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
  if (limit) result.memory = { limit, ...(swapAccounting() ? { swap } : {}) };
  // A limit of nothing on a size that the kernel does not have says nothing.
  const pages = resources.hugepageLimits.filter(({ limit }) => limit > 0n);
  if (pages.length > 0)
    result.hugepageLimits = pages.map(({ pageSize, limit }) => ({
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
  if (update.cpusetCpus) merged.cpusetCpus = update.cpusetCpus;
  if (update.cpusetMems) merged.cpusetMems = update.cpusetMems;
  if (update.hugepageLimits.length > 0) merged.hugepageLimits = update.hugepageLimits;
  merged.unified = { ...before.unified, ...update.unified };
  return merged;
}
