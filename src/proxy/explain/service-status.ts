import type { BackendOptions } from '../backends/backend.ts';
import type { IpFamily } from '../model/types.ts';
import { planKey } from '../plan/plan-table.ts';
import type { Frontend, ServicePortPlan } from '../plan/types.ts';
import { addressWithPort } from '../tracer/packet.ts';
import type { KernelView } from './kernel-view.ts';

/** One Service port: what is wanted, and whether the kernel has it. */
export interface ServicePortStatus {
  /** `namespace/name`. */
  service: string;
  /** `namespace/name:port`. */
  name: string;
  family: IpFamily;
  protocol: string;
  frontends: readonly Frontend[];
  affinitySeconds: number;
  /** `address:port` of endpoints under the policy Cluster, and under Local. */
  endpoints: string[];
  localEndpoints: string[];
  kernel: 'yes' | 'no' | 'differs' | 'unread';
  differences: string[];
  /** The kernel refuses it. */
  refused: boolean;
}

/** Compares plans with the kernel, one by one. Without a view of the kernel, nothing is said of it. */
export function serviceStatus(
  plans: readonly ServicePortPlan[],
  options: BackendOptions,
  kernel: KernelView | undefined,
  refused: readonly string[],
): ServicePortStatus[] {
  const bad = new Set(refused);
  const text = (list: ServicePortPlan['cluster']) => list.map((one) => addressWithPort(one.address, one.port));
  return plans.map((plan) => {
    const { parts = 0, missing = 0, differences = [] } = kernel?.compare(plan, options) ?? {};
    const state = differences.length === 0 ? 'yes' : missing >= parts ? 'no' : 'differs';
    return {
      service: plan.service,
      name: plan.name,
      family: options.family,
      protocol: plan.protocol,
      frontends: plan.frontends,
      affinitySeconds: plan.affinitySeconds,
      endpoints: text(plan.cluster),
      localEndpoints: text(plan.local),
      kernel: kernel ? state : 'unread',
      differences,
      refused: bad.has(planKey(plan)),
    };
  });
}
