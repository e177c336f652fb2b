import type { ContainerStats, UInt64Value } from '../../api/cri/index.ts';
import type { Usage } from './usage.ts';

const value = (one: UInt64Value | undefined): bigint => one?.value ?? 0n;

/** Usage as a runtime tells it. */
export function fromRuntime({ cpu, memory, swap }: ContainerStats): Usage {
  return {
    atMs: Number((cpu?.timestamp ?? 0n) / 1_000_000n),
    cpuNs: value(cpu?.usageCoreNanoSeconds),
    cpuNanoCores: cpu?.usageNanoCores ? Number(cpu.usageNanoCores.value) : undefined,
    memoryBytes: value(memory?.usageBytes),
    workingSetBytes: value(memory?.workingSetBytes),
    rssBytes: value(memory?.rssBytes),
    pageFaults: value(memory?.pageFaults),
    majorPageFaults: value(memory?.majorPageFaults),
    processes: 0n,
    ...(swap?.swapUsageBytes ? { swapBytes: swap.swapUsageBytes.value } : {}),
  };
}
