import type { MessageInitShape } from '@bufbuild/protobuf';
import type { LinuxContainerResourcesSchema } from '../../api/cri/index.ts';
import { type Container, type Pod, quantityMilli, quantityValue } from '../../api/index.ts';
import { everyContainer } from './security-context.ts';

/** What of the node matters for a container's resources. */
export interface ResourceDefaults {
  /** Memory of the machine, bytes. */
  memoryCapacity: number;
  /** Whether CPU limits are enforced. */
  cpuQuota: boolean;
  cpuQuotaPeriodUs: number;
}

/** Classes of pods by what they ask for. */
export type QosClass = 'Guaranteed' | 'Burstable' | 'BestEffort';

const counted = ['cpu', 'memory'] as const;

/** The QoS class of a pod: decided by cpu and memory of all its containers (or of the pod as a whole). */
export function qosClass(pod: Pod): QosClass {
  const whole = pod.spec!.resources;
  const parts = whole?.requests || whole?.limits ? [whole] : containersWithResources(pod);
  let any = false;
  let guaranteed = true;
  for (const { requests = {}, limits = {} } of parts) {
    for (const name of counted) {
      const limit = quantityMilli(limits[name] ?? '0');
      const request = requests[name] === undefined ? limit : quantityMilli(requests[name]!);
      if (limit > 0 || request > 0) any = true;
      if (limit === 0 || request !== limit) guaranteed = false;
    }
  }
  if (!any) return 'BestEffort';
  return guaranteed ? 'Guaranteed' : 'Burstable';
}

function containersWithResources(pod: Pod) {
  const { containers, initContainers = [] } = pod.spec!;
  return [...containers, ...initContainers].map(({ resources }) => resources ?? {});
}

/** The limits of a container in the units of cgroups. */
export function containerResources(
  pod: Pod,
  container: Container,
  defaults: ResourceDefaults,
): MessageInitShape<typeof LinuxContainerResourcesSchema> {
  const { requests = {}, limits = {} } = container.resources ?? {};
  const cpuRequest = requests['cpu'] ?? limits['cpu'];
  const hugepages = Object.entries(limits).filter(([name]) => name.startsWith('hugepages-'));
  return {
    cpuShares: BigInt(cpuShares(cpuRequest === undefined ? 0 : quantityMilli(cpuRequest))),
    cpuPeriod: BigInt(defaults.cpuQuotaPeriodUs),
    cpuQuota: BigInt(cpuQuota(quantityMilli(limits['cpu'] ?? '0'), defaults)),
    memoryLimitInBytes: BigInt(quantityValue(limits['memory'] ?? '0')),
    oomScoreAdj: BigInt(oomScoreAdjust(pod, container, defaults.memoryCapacity)),
    hugepageLimits: hugepages.map(([name, value]) => ({
      pageSize: pageSize(name.slice('hugepages-'.length)),
      limit: BigInt(quantityValue(value)),
    })),
  };
}

/** What a pod's containers ask for together, for the sandbox. */
export function sandboxResources(
  pod: Pod,
  defaults: ResourceDefaults,
): MessageInitShape<typeof LinuxContainerResourcesSchema> {
  const sum = (kind: 'requests' | 'limits', name: string, convert: (text: string) => number) =>
    pod.spec!.containers.reduce((total, { resources }) => total + convert(resources?.[kind]?.[name] ?? '0'), 0);
  const limited = (name: string) => pod.spec!.containers.every(({ resources }) => resources?.limits?.[name]);
  return {
    cpuShares: BigInt(cpuShares(sum('requests', 'cpu', quantityMilli))),
    cpuPeriod: BigInt(defaults.cpuQuotaPeriodUs),
    cpuQuota: BigInt(limited('cpu') ? cpuQuota(sum('limits', 'cpu', quantityMilli), defaults) : 0),
    memoryLimitInBytes: BigInt(limited('memory') ? sum('limits', 'memory', quantityValue) : 0),
  };
}

/** CPU weight: 1024 a core, at least 2. */
export function cpuShares(milli: number): number {
  return Math.min(262_144, Math.max(2, Math.floor((milli * 1024) / 1000)));
}

/** CPU time in each period, microseconds, at least 1000; 0 without a limit. */
export function cpuQuota(milli: number, { cpuQuota: enforced, cpuQuotaPeriodUs }: ResourceDefaults): number {
  if (milli === 0 || !enforced) return 0;
  return Math.max(1000, Math.floor((milli * cpuQuotaPeriodUs) / 1000));
}

/** How readily the kernel kills the container when memory runs out. */
export function oomScoreAdjust(pod: Pod, container: Container, memoryCapacity: number): number {
  if (isCritical(pod)) return -997;
  const qos = qosClass(pod);
  if (qos === 'Guaranteed') return -997;
  if (qos === 'BestEffort') return 1000;
  const requested = quantityValue(container.resources?.requests?.['memory'] ?? '0');
  const score = 1000 - Math.floor((1000 * requested) / Math.max(1, memoryCapacity));
  return Math.min(999, Math.max(3, score));
}

/** Whether the node cannot do without the pod. */
export function isCritical(pod: Pod): boolean {
  const { annotations = {} } = pod.metadata;
  const source = annotations['kubernetes.io/config.source'];
  if (source !== undefined && source !== 'api') return true;
  if (annotations['kubernetes.io/config.mirror'] !== undefined) return true;
  return (pod.spec!.priority ?? 0) >= 2_000_000_000;
}

/** `2Mi` as cgroups name it, `2MB`. */
function pageSize(text: string): string {
  return text.replace(/i$/, '').concat('B');
}

/** Whether any container of the pod wants a host port. */
export function hostPorts(pod: Pod): { hostIp: string; hostPort: number; protocol: string }[] {
  return everyContainer(pod).flatMap(({ ports = [] }) =>
    ports
      .filter(({ hostPort }) => hostPort)
      .map(({ hostIP = '', hostPort, protocol = 'TCP' }) => ({ hostIp: hostIP, hostPort: hostPort!, protocol })),
  );
}
