import { existsSync, readdirSync } from 'node:fs';
import type { Clock } from '../../async/index.ts';
import { openCgroups } from '../../host/cgroups/index.ts';
import type { Logger } from '../../log/index.ts';
import type { KubeletSettings } from '../config/settings.ts';
import type { PodCgroups } from '../pods/ports.ts';
import type { CgroupDriver } from './cgroup-names.ts';
import { enforceAllocatable } from './enforce-allocatable.ts';
import type { MachineCapacity } from './machine.ts';
import { allPodsLimits, type Reservations, totalReserved } from './node-allocatable.ts';
import { createPodCgroups } from './pod-cgroups.ts';

/** What the cgroups of a kubelet are made from. */
export interface CgroupGround {
  settings: KubeletSettings;
  /** The driver that the runtime names; undefined when it does not tell. */
  runtime: { cgroupDriver: CgroupDriver | undefined };
  log: Logger;
  clock: Clock;
}

/** The reservations of a configuration. */
export function reservationsOf({ configuration }: KubeletSettings): Reservations {
  return {
    systemReserved: configuration.systemReserved ?? {},
    kubeReserved: configuration.kubeReserved ?? {},
    reservedSystemCPUs: configuration.reservedSystemCPUs,
  };
}

/** The cgroups of pods as the configuration wants them. */
export function makeCgroups(
  { settings, runtime, log, clock }: CgroupGround,
  capacity: MachineCapacity,
  exclusiveCpus: (podUid: string) => boolean = () => false,
): PodCgroups {
  const { configuration } = settings;
  const reservations = reservationsOf(settings);
  const kept = configuration.qosReserved?.['memory'];
  return createPodCgroups({
    cgroupRoot: configuration.cgroupRoot || '/',
    driver: runtime.cgroupDriver ?? (configuration.cgroupDriver as CgroupDriver),
    perQos: configuration.cgroupsPerQOS,
    cpuQuota: configuration.cpuCFSQuota,
    cpuQuotaPeriodUs: settings.cpuQuotaPeriodUs,
    podPidsLimit: configuration.podPidsLimit,
    exclusiveCpus,
    hugepageSizes: hugepageSizes(),
    allPods: allPodsLimits(capacity, reservations, configuration.enforceNodeAllocatable.includes('pods')),
    ...(kept === undefined ? {} : { reservedMemory: Number.parseFloat(kept) * 10 }),
    allocatableMemory: capacity.memoryBytes - totalReserved(reservations).memoryBytes,
    log,
    clock,
  });
}

/** Sizes of huge pages whose use the kernel limits; none without the controller. */
function hugepageSizes(): string[] {
  const directory = '/sys/kernel/mm/hugepages';
  if (!openCgroups().mounts.has('hugetlb') || !existsSync(directory)) return [];
  return readdirSync(directory).flatMap((name) => {
    const kilobytes = Number(/^hugepages-(\d+)kB$/.exec(name)?.[1] ?? 0);
    if (kilobytes === 0) return [];
    return kilobytes >= 1_048_576 ? [`${kilobytes / 1_048_576}Gi`] : [`${kilobytes / 1024}Mi`];
  });
}

/** Enforces what the configuration keeps from pods; see {@link enforceAllocatable}. */
export function startEnforcement(
  { settings, log, clock }: Omit<CgroupGround, 'runtime'>,
  cgroups: PodCgroups,
  event: (type: 'Normal' | 'Warning', reason: string, message: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const { enforceNodeAllocatable, systemReservedCgroup, kubeReservedCgroup } = settings.configuration;
  const { systemReserved, kubeReserved } = reservationsOf(settings);
  return enforceAllocatable(
    {
      ...{ cgroups, enforced: enforceNodeAllocatable, event, log, clock },
      ...{ systemReserved, systemReservedCgroup, kubeReserved, kubeReservedCgroup },
    },
    signal,
  );
}
