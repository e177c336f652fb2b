import { quantityMilli, quantityValue } from '../../api/index.ts';
import type { CgroupLimits } from '../../host/cgroups/index.ts';
import { cpuShares } from '../pods/container-resources.ts';
import type { MachineCapacity } from './machine.ts';

/** What of the configuration keeps resources from pods. */
export interface Reservations {
  systemReserved: Readonly<Record<string, string>>;
  kubeReserved: Readonly<Record<string, string>>;
  /** Processors by number (`0-1,3`) that are kept from pods; stands for the reserved `cpu`. */
  reservedSystemCPUs: string;
}

/** What is kept from pods, in units of the node: thousandths of processors, bytes, processes. */
export interface Reserved {
  cpuMilli: number;
  memoryBytes: number;
  storageBytes: number;
  pids: number;
}

/** Processors in a list as the kernel writes it. @throws Error for a text that is none */
export function parseCpuList(text: string): number[] {
  const cpus = text
    .trim()
    .split(',')
    .filter(Boolean)
    .flatMap((part) => {
      const match = /^(\d+)(?:-(\d+))?$/.exec(part.trim());
      if (!match) throw new Error(`"${part}" is neither a processor nor a range of processors`);
      const [first, last] = [Number(match[1]), Number(match[2] ?? match[1])];
      if (last < first) throw new Error(`the range "${part}" runs backwards`);
      return Array.from({ length: last - first + 1 }, (_, index) => first + index);
    });
  return [...new Set(cpus)].sort((a, b) => a - b);
}

/** How many pods a node takes: so many in all, and not more than so many for each processor. */
export function mostPods(
  { maxPods, podsPerCore }: { maxPods: number; podsPerCore: number },
  { cpuMilli }: Pick<MachineCapacity, 'cpuMilli'>,
): number {
  return podsPerCore > 0 ? Math.min(maxPods, Math.floor((podsPerCore * cpuMilli) / 1000)) : maxPods;
}

/** One reservation of a configuration, or both together. */
export function reservedBy(list: Readonly<Record<string, string>>): Reserved {
  return {
    cpuMilli: quantityMilli(list['cpu'] ?? '0'),
    memoryBytes: quantityValue(list['memory'] ?? '0'),
    storageBytes: quantityValue(list['ephemeral-storage'] ?? '0'),
    pids: quantityValue(list['pid'] ?? '0'),
  };
}

/** What the system and Kubernetes keep together. */
export function totalReserved({ systemReserved, kubeReserved, reservedSystemCPUs }: Reservations): Reserved {
  const [system, kube] = [reservedBy(systemReserved), reservedBy(kubeReserved)];
  const listed = parseCpuList(reservedSystemCPUs).length * 1000;
  return {
    cpuMilli: listed || system.cpuMilli + kube.cpuMilli,
    memoryBytes: system.memoryBytes + kube.memoryBytes,
    storageBytes: system.storageBytes + kube.storageBytes,
    pids: system.pids + kube.pids,
  };
}

/**
 * The limits of the cgroup of all pods: capacity less what is reserved. The hard eviction thresholds stay within it: pods
 * that reach them are evicted, and not killed by the kernel.
 */
export function allPodsLimits(capacity: MachineCapacity, reservations: Reservations, enforced: boolean): CgroupLimits {
  const reserved = totalReserved(reservations);
  const limits: CgroupLimits = { cpuShares: cpuShares(Math.max(0, capacity.cpuMilli - reserved.cpuMilli)) };
  if (!enforced) return limits;
  const hugepages = Object.values(capacity.hugepages).reduce((sum, bytes) => sum + bytes, 0);
  limits.memoryBytes = Math.max(0, capacity.memoryBytes - reserved.memoryBytes - hugepages);
  limits.pids = Math.max(1, capacity.maximumPids - reserved.pids);
  return limits;
}

/** The limits of the cgroup to which a reservation is given. `compressible`: processors only, which can be shared out anew. */
export function reservationLimits(list: Readonly<Record<string, string>>, compressible: boolean): CgroupLimits {
  const { cpuMilli, memoryBytes, pids } = reservedBy(list);
  return {
    ...(cpuMilli > 0 ? { cpuShares: cpuShares(cpuMilli) } : {}),
    ...(!compressible && memoryBytes > 0 ? { memoryBytes } : {}),
    ...(!compressible && pids > 0 ? { pids } : {}),
  };
}
