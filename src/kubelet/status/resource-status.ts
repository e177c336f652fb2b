import {
  type Container,
  formatMilli,
  type Pod,
  quantityMilli,
  quantityValue,
  type ResourceRequirements,
} from '../../api/index.ts';
import { cpuShares } from '../pods/container-resources.ts';
import type { RuntimeContainer } from '../pods/runtime-state.ts';
import { type Amounts, podLimitTotals, podRequests } from '../resources/pod-requests.ts';
import { type PodResources, resizable } from '../resources/pod-resources.ts';

/** What a container has: what it was granted, and what is in force where that differs. */
export function containerResourceStatus(
  { name, resources = {} }: Container,
  newest: RuntimeContainer,
  actuated: PodResources | undefined,
): { resources: ResourceRequirements; allocatedResources?: Record<string, string> } {
  const { requests, limits } = resources;
  const granted = requests ? { allocatedResources: requests } : {};
  const own = actuated?.containers[name];
  const inForce =
    newest.state === 'running' && own
      ? { requests: inForceOf('requests'), limits: inForceOf('limits') }
      : { requests, limits };
  if (newest.state === 'running') correct(inForce, newest);
  return {
    resources: {
      ...(inForce.limits ? { limits: inForce.limits } : {}),
      ...(inForce.requests ? { requests: inForce.requests } : {}),
    },
    ...granted,
  };

  /** Processors and memory as they were told the runtime; the rest as granted. */
  function inForceOf(kind: 'requests' | 'limits'): Record<string, string> | undefined {
    const list = { ...resources[kind] };
    for (const one of resizable) {
      const value = own?.[kind]?.[one];
      if (value === undefined) delete list[one];
      else list[one] = value;
    }
    return Object.keys(list).length > 0 || resources[kind] ? list : undefined;
  }
}

/** Where the runtime says clearly something else (somebody changed it behind our back), that is what is in force. */
function correct(
  { requests, limits }: { requests?: Record<string, string> | undefined; limits?: Record<string, string> | undefined },
  { resources }: RuntimeContainer,
): void {
  if (!resources) return;
  const { cpuQuota, cpuPeriod, cpuShares: shares, memoryLimit } = resources;
  if (limits?.['memory'] && memoryLimit > 0 && memoryLimit !== quantityValue(limits['memory']))
    limits['memory'] = String(memoryLimit);
  if (limits?.['cpu'] && cpuQuota > 0 && cpuPeriod > 0) {
    const milli = Math.round((cpuQuota * 1000) / cpuPeriod);
    // Below ten thousandths every quota is the same.
    if (isElse(milli, quantityMilli(limits['cpu'])) && milli > 10) limits['cpu'] = formatMilli(milli);
  }
  if (requests?.['cpu'] && shares > 2 && isElse(shares, cpuShares(quantityMilli(requests['cpu']))))
    requests['cpu'] = formatMilli(Math.round((shares * 1000) / 1024));
}

/** Weights are rounded on their way through cgroup v2. */
function isElse(a: number, b: number): boolean {
  return Math.abs(a - b) > Math.max(2, b * 0.03);
}

/** What the pod as a whole has and was granted. */
export function podResourceStatus(
  pod: Pod,
  actuated: PodResources | undefined,
): { resources: ResourceRequirements; allocatedResources: Record<string, string> } {
  const whole = actuated?.pod ? { ...pod, spec: { ...pod.spec, resources: actuated.pod } } : pod;
  const [requests, limits] = [quantities(podRequests(whole)), quantities(podLimitTotals(whole))];
  return {
    resources: {
      ...(Object.keys(limits).length > 0 ? { limits } : {}),
      ...(Object.keys(requests).length > 0 ? { requests } : {}),
    },
    allocatedResources: quantities(podRequests(pod)),
  };
}

const binary: readonly [string, number][] = [
  ['Gi', 2 ** 30],
  ['Mi', 2 ** 20],
  ['Ki', 2 ** 10],
];

function quantities(amounts: Amounts): Record<string, string> {
  return Object.fromEntries(
    [...amounts].map(([name, milli]) => {
      if (name === 'cpu' || milli % 1000 !== 0) return [name, formatMilli(milli)];
      const value = milli / 1000;
      const [suffix, unit] = binary.find(([, size]) => value > 0 && value % size === 0) ?? ['', 1];
      return [name, `${value / unit}${suffix}`];
    }),
  );
}
