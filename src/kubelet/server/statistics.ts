import { readFileSync, statfsSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import type { ContainerStats, PodSandboxStats } from '../../api/cri/index.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import { readText } from '../resources/index.ts';

/** What a container uses; from the runtime. */
export interface ContainerUsage {
  namespace: string;
  pod: string;
  podUid: string;
  container: string;
  /** When it was measured, milliseconds since 1970. */
  atMs: number;
  cpuNanoseconds: number;
  cpuNanoCores: number | undefined;
  workingSetBytes: number;
  usageBytes: number;
  rssBytes: number;
  writableLayerBytes: number;
  writableLayerInodes: number;
}

/** Usage of all containers, from the runtime. */
export async function readContainerUsage(client: RuntimeClient): Promise<ContainerUsage[]> {
  const { stats } = await client.runtime.listContainerStats({}, { timeoutMs: 10_000 });
  return stats.map(toUsage);
}

/** Usage of all sandboxes (network); empty where the runtime does not tell. */
export async function readSandboxUsage(client: RuntimeClient): Promise<PodSandboxStats[]> {
  return client.runtime.listPodSandboxStats({}, { timeoutMs: 10_000 }).then(
    ({ stats }) => stats,
    () => [],
  );
}

function toUsage({ attributes, cpu, memory, writableLayer }: ContainerStats): ContainerUsage {
  const labels = attributes?.labels ?? {};
  return {
    namespace: labels['io.kubernetes.pod.namespace'] ?? '',
    pod: labels['io.kubernetes.pod.name'] ?? '',
    podUid: labels['io.kubernetes.pod.uid'] ?? '',
    container: labels['io.kubernetes.container.name'] ?? attributes?.metadata?.name ?? '',
    atMs: Number((cpu?.timestamp ?? 0n) / 1_000_000n),
    cpuNanoseconds: Number(cpu?.usageCoreNanoSeconds?.value ?? 0n),
    cpuNanoCores: cpu?.usageNanoCores ? Number(cpu.usageNanoCores.value) : undefined,
    workingSetBytes: Number(memory?.workingSetBytes?.value ?? 0n),
    usageBytes: Number(memory?.usageBytes?.value ?? 0n),
    rssBytes: Number(memory?.rssBytes?.value ?? 0n),
    writableLayerBytes: Number(writableLayer?.usedBytes?.value ?? 0n),
    writableLayerInodes: Number(writableLayer?.inodesUsed?.value ?? 0n),
  };
}

/** What the machine uses. */
export interface NodeUsage {
  cpuNanoseconds: number;
  memoryAvailableBytes: number;
  memoryUsageBytes: number;
  memoryWorkingSetBytes: number;
  fileSystem: { capacityBytes: number; availableBytes: number; usedBytes: number; inodes: number; inodesFree: number };
}

/** Reads what the machine uses from /proc. */
export function readNodeUsage(rootDirectory: string): NodeUsage {
  const kilobytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readText('/proc/meminfo'))?.[1] ?? 0) * 1024;
  const available = kilobytes('MemAvailable');
  const busyMs = cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0);
  const disk = statfsSync(rootDirectory);
  return {
    cpuNanoseconds: busyMs * 1e6,
    memoryAvailableBytes: available,
    memoryUsageBytes: totalmem() - kilobytes('MemFree'),
    memoryWorkingSetBytes: totalmem() - available,
    fileSystem: {
      capacityBytes: disk.blocks * disk.bsize,
      availableBytes: disk.bavail * disk.bsize,
      usedBytes: (disk.blocks - disk.bfree) * disk.bsize,
      inodes: disk.files,
      inodesFree: disk.ffree,
    },
  };
}

/** Resident memory of this process, bytes. */
export function ownResidentBytes(): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? 0) * 1024;
}
