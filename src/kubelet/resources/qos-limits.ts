import type { CgroupLimits } from '../../host/cgroups/index.ts';
import { cpuShares, type QosClass } from '../pods/container-resources.ts';
import type { Amounts } from './pod-requests.ts';

/** What is kept from the classes of pods. */
export interface QosReservation {
  /** Thousandths of the requested memory that no lower class may use; undefined: none is kept. */
  reservedMemory: number | undefined;
  /** Bytes that all pods may have. */
  allocatableMemory: number | undefined;
}

/** Limits of the two lower classes' cgroups, from the pods that there are. Pure. */
export function qosLimits(
  pods: readonly { qos: QosClass; requests: Amounts }[],
  { reservedMemory, allocatableMemory }: QosReservation,
): Record<'Burstable' | 'BestEffort', CgroupLimits> {
  const sum = (qos: QosClass, name: string) =>
    pods.filter((pod) => pod.qos === qos).reduce((total, { requests }) => total + (requests.get(name) ?? 0), 0);
  const limits: Record<'Burstable' | 'BestEffort', CgroupLimits> = {
    Burstable: { cpuShares: cpuShares(sum('Burstable', 'cpu')) },
    BestEffort: { cpuShares: 2 },
  };
  if (reservedMemory === undefined || allocatableMemory === undefined) return limits;
  const kept = (qos: QosClass) => Math.floor((sum(qos, 'memory') / 1000) * (reservedMemory / 1000));
  limits.Burstable.memoryBytes = Math.max(0, allocatableMemory - kept('Guaranteed'));
  limits.BestEffort.memoryBytes = Math.max(0, limits.Burstable.memoryBytes - kept('Burstable'));
  return limits;
}
