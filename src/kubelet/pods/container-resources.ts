import type { MessageInitShape } from '@bufbuild/protobuf';
import type { LinuxContainerResourcesSchema } from '../../api/cri/index.ts';
import { type Container, type Pod, quantityMilli, quantityValue } from '../../api/index.ts';
import type { PodCgroupState } from './ports.ts';
import { everyContainer } from './security-context.ts';

/** What of the node matters for a container's resources. */
export interface ResourceDefaults {
  /** Memory of the machine, bytes. */
  memoryCapacity: number;
  /** Whether CPU limits are enforced. */
  cpuQuota: boolean;
  cpuQuotaPeriodUs: number;
  /** cgroup v2: swap is limited apart from memory. */
  unified?: boolean;
  /** Whether the kernel limits swap at all. */
  swapControl?: boolean;
  /** Swap space of the machine, bytes. */
  swapCapacity?: number;
  /** Burstable containers may swap, in proportion to the memory that they ask for. */
  limitedSwap?: boolean;
  /** When memory runs out, all processes of the container are killed and not just one (v2). */
  killTogether?: boolean;
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

/**
 * The limits of a container in the units of cgroups. What the container leaves open is closed where the pod as a whole
 * is limited.
 */
export function containerResources(
  pod: Pod,
  container: Container,
  defaults: ResourceDefaults,
): MessageInitShape<typeof LinuxContainerResourcesSchema> {
  const { requests = {}, limits: own = {} } = container.resources ?? {};
  const limits = { ...only(pod.spec.resources?.limits, ['cpu', 'memory']), ...own };
  const cpuRequest = requests['cpu'] ?? limits['cpu'];
  const hugepages = Object.entries(own).filter(([name]) => name.startsWith('hugepages-'));
  const memoryLimit = quantityValue(limits['memory'] ?? '0');
  return {
    cpuShares: BigInt(cpuShares(cpuRequest === undefined ? 0 : quantityMilli(cpuRequest))),
    ...(defaults.cpuQuota
      ? {
          cpuPeriod: BigInt(defaults.cpuQuotaPeriodUs),
          cpuQuota: BigInt(cpuQuota(quantityMilli(limits['cpu'] ?? '0'), defaults)),
        }
      : {}),
    memoryLimitInBytes: BigInt(memoryLimit),
    oomScoreAdj: BigInt(oomScoreAdjust(pod, container, defaults.memoryCapacity)),
    hugepageLimits: hugepages.map(([name, value]) => ({
      pageSize: pageSizeName(name.slice('hugepages-'.length)),
      limit: BigInt(quantityValue(value)),
    })),
    ...swapLimits(pod, container, memoryLimit, defaults),
  };
}

/** What a pod's containers may use together, and its overhead, as the runtime is told with its sandbox. */
export function sandboxResources(pod: Pod, limits: (pod: Pod) => PodCgroupState) {
  const { overhead, ...spec } = pod.spec;
  const of = ({ cpuShares: shares, cpuQuotaUs, cpuPeriodUs, memoryBytes }: PodCgroupState) => ({
    cpuShares: BigInt(shares),
    cpuPeriod: BigInt(cpuPeriodUs),
    cpuQuota: BigInt(Math.max(0, cpuQuotaUs)),
    memoryLimitInBytes: BigInt(Math.max(0, memoryBytes)),
  });
  const resources = of(limits({ ...pod, spec }));
  if (!overhead) return { resources };
  const cpu = quantityMilli(overhead['cpu'] ?? '0');
  const own = {
    cpuShares: cpuShares(cpu),
    cpuQuotaUs: Math.floor((cpu * Number(resources.cpuPeriod)) / 1000),
    cpuPeriodUs: Number(resources.cpuPeriod),
    memoryBytes: quantityValue(overhead['memory'] ?? '0'),
  };
  return { resources, overhead: of(own) };
}

function only(list: Record<string, string> | undefined, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(Object.entries(list ?? {}).filter(([name]) => names.includes(name)));
}

/** What of swap a container may use, and whether its processes die together; v2 tells both by its own files. */
function swapLimits(
  pod: Pod,
  container: Container,
  memoryLimit: number,
  defaults: ResourceDefaults,
): MessageInitShape<typeof LinuxContainerResourcesSchema> {
  const { unified, swapControl, killTogether } = defaults;
  // v1 limits the sum: no swap beyond the memory.
  if (!unified) return swapControl && memoryLimit > 0 ? { memorySwapLimitInBytes: BigInt(memoryLimit) } : {};
  const files = {
    ...(killTogether ? { 'memory.oom.group': '1' } : {}),
    ...(swapControl ? { 'memory.swap.max': String(swapBytes(pod, container, defaults)) } : {}),
  };
  return Object.keys(files).length > 0 ? { unified: files } : {};
}

/** Bytes of swap for a container: its share of the machine's swap by its share of the memory; none without LimitedSwap. */
export function swapBytes(pod: Pod, container: Container, defaults: ResourceDefaults): number {
  if (!maySwap(pod, container, defaults)) return 0;
  const requested = quantityValue(container.resources?.requests?.['memory'] ?? '0');
  if (requested > defaults.memoryCapacity) return 0;
  return Math.floor((requested / defaults.memoryCapacity) * (defaults.swapCapacity ?? 0));
}

/** Only burstable containers swap, and of those none that has all its memory for sure. */
export function maySwap(pod: Pod, container: Container, defaults: ResourceDefaults): boolean {
  if (!defaults.limitedSwap || !defaults.unified || !defaults.swapControl || isCritical(pod)) return false;
  const { requests = {}, limits = {} } = container.resources ?? {};
  const [request, limit] = [quantityValue(requests['memory'] ?? '0'), quantityValue(limits['memory'] ?? '0')];
  return qosClass(pod) === 'Burstable' && request !== limit;
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

/** How readily the kernel kills the container when memory runs out: a sidecar not before the apps that it serves. */
export function oomScoreAdjust(pod: Pod, container: Container, memoryCapacity: number): number {
  if (isCritical(pod) && pod.spec.priorityClassName === 'system-node-critical') return -997;
  const qos = qosClass(pod);
  if (qos === 'Guaranteed') return -997;
  if (qos === 'BestEffort') return 1000;
  const spare = spareMemoryOf(pod);
  const score = (bytes: number) => 1000 - Math.floor((1000 * (bytes + spare)) / Math.max(1, memoryCapacity));
  let adjust = score(requestedMemory(container));
  const isSidecar =
    container.restartPolicy === 'Always' && pod.spec.initContainers?.some(({ name }) => name === container.name);
  if (isSidecar) adjust = Math.min(adjust, score(Math.min(...pod.spec.containers.map(requestedMemory))));
  return Math.min(999, Math.max(3, adjust));
}

const requestedMemory = ({ resources }: Container): number => quantityValue(resources?.requests?.['memory'] ?? '0');

/** What a pod as a whole asks for beyond its containers, shared out among those that run side by side. */
function spareMemoryOf(pod: Pod): number {
  const whole = pod.spec.resources?.requests?.['memory'];
  if (whole === undefined) return 0;
  const sidecars = (pod.spec.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  const all = [...pod.spec.containers, ...sidecars];
  const rest = quantityValue(whole) - all.reduce((sum, one) => sum + requestedMemory(one), 0);
  return Math.max(0, Math.floor(rest / all.length));
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
export function pageSizeName(text: string): string {
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
