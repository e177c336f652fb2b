import type { Pod } from '../../api/index.ts';
import type { CgroupLimits } from '../../host/cgroups/index.ts';
import { cpuShares, pageSizeName, qosClass } from '../pods/container-resources.ts';
import { podLimitTotals, podRequests } from './pod-requests.ts';

/** What of the configuration matters for the cgroup of a pod. */
export interface PodLimitOptions {
  /** Enforce CPU limits. */
  cpuQuota: boolean;
  cpuQuotaPeriodUs: number;
  /** Most processes in a pod; negative or 0 means no limit. */
  podPidsLimit: number;
  /** Sizes of huge pages whose use the kernel limits, as in resource names (`2Mi`). */
  hugepageSizes?: readonly string[];
}

/** Limits of the pod's cgroup; a resource that one container leaves open is open, unless the pod as a whole closes it. */
export function podLimits(
  pod: Pod,
  options: PodLimitOptions,
): Required<Pick<CgroupLimits, 'cpuShares' | 'cpuQuotaUs' | 'cpuPeriodUs' | 'memoryBytes'>> & CgroupLimits {
  const qos = qosClass(pod);
  const requests = podRequests(pod);
  const limits = podLimitTotals(pod);
  const closed = (name: string) => qos !== 'BestEffort' && isLimited(pod, name);
  const { cpuQuota, cpuQuotaPeriodUs, podPidsLimit, hugepageSizes = [] } = options;
  const quota = Math.floor(((limits.get('cpu') ?? 0) * cpuQuotaPeriodUs) / 1000);
  return {
    cpuShares: qos === 'BestEffort' ? 2 : cpuShares(requests.get('cpu') ?? 0),
    cpuPeriodUs: cpuQuotaPeriodUs,
    cpuQuotaUs: cpuQuota && closed('cpu') ? Math.max(1000, quota) : -1,
    memoryBytes: closed('memory') ? Math.floor((limits.get('memory') ?? 0) / 1000) : -1,
    ...(podPidsLimit > 0 ? { pids: podPidsLimit } : {}),
    ...(hugepageSizes.length > 0
      ? {
          hugepages: hugepageSizes.map((size) => ({
            pageSize: pageSizeName(size),
            bytes: BigInt(Math.floor((requests.get(`hugepages-${size}`) ?? 0) / 1000)),
          })),
        }
      : {}),
  };
}

function isLimited(pod: Pod, name: string): boolean {
  const has = (limits: Record<string, string> | undefined) =>
    limits?.[name] !== undefined && !/^0[a-zA-Z]*$/.test(limits[name]);
  if (has(pod.spec.resources?.limits)) return true;
  return [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].every(({ resources }) => has(resources?.limits));
}
