import type { LinuxContainerResources } from '../../../api/cri/index.ts';
import { invalid, RuntimeError } from '../../errors.ts';

/**
 * Limits in the engine's words, for `HostConfig` and for `POST /containers/{id}/update`. What is 0 or empty says nothing.
 * @throws RuntimeError for what the engine cannot do
 */
export function engineResources(resources: LinuxContainerResources | undefined): Record<string, number | string> {
  if (!resources) return {};
  const { hugepageLimits, unified, memoryLimitInBytes: memory, memorySwapLimitInBytes: swap } = resources;
  if (Object.keys(unified).length > 0)
    throw new RuntimeError(
      'FAILED_PRECONDITION',
      `files of cgroup v2 by name (${Object.keys(unified).join(', ')}) are not supported by the Docker Engine`,
    );
  const pages = hugepageLimits.find(({ limit }) => limit > 0n);
  if (pages)
    throw new RuntimeError(
      'FAILED_PRECONDITION',
      `limits of huge pages (${pages.pageSize}) are not supported by the Docker Engine`,
    );
  if (memory < 0n) throw invalid(`the memory limit is ${memory}: must be 0 or more`);
  const given = {
    CpuShares: Number(resources.cpuShares),
    CpuPeriod: Number(resources.cpuPeriod),
    CpuQuota: Number(resources.cpuQuota),
    CpusetCpus: resources.cpusetCpus,
    CpusetMems: resources.cpusetMems,
    Memory: Number(memory),
    // Otherwise the engine would give as much swap besides.
    MemorySwap: Number(swap || memory),
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== 0 && value !== ''));
}
