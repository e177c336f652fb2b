import type { Clock } from '../../async/index.ts';
import { openCgroups } from '../../host/cgroups/index.ts';
import type { Logger } from '../../log/index.ts';
import type { KubeletSettings } from '../config/settings.ts';
import type { PodCgroups } from '../pods/ports.ts';
import type { CgroupDriver } from './cgroup-names.ts';
import { enforceAllocatable } from './enforce-allocatable.ts';
import { hugepageSizes, type MachineCapacity } from './machine.ts';
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
    hugepageSizes: limitedHugepages(),
    allPods: allPodsLimits(capacity, reservations, configuration.enforceNodeAllocatable.includes('pods')),
    ...(kept === undefined ? {} : { reservedMemory: Number.parseFloat(kept) * 10 }),
    allocatableMemory: capacity.memoryBytes - totalReserved(reservations).memoryBytes,
    log,
    clock,
  });
}

/** Sizes of huge pages whose use the kernel limits; none without the controller. */
function limitedHugepages(): string[] {
  return openCgroups().mounts.has('hugetlb') ? hugepageSizes().map(({ size }) => size) : [];
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
