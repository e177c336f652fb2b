import type { FamilyProxy } from '../family-proxy.ts';
import { familyName } from './family-name.ts';
import type { ProxyMetrics } from './metrics.ts';

/** Sets the gauges that are counted when somebody asks for them. */
export function countPlans(
  metrics: ProxyMetrics,
  families: readonly FamilyProxy[],
  waiting: Readonly<{ service: number; endpoints: number }>,
): void {
  metrics.serviceChangesPending.set(waiting.service);
  metrics.endpointChangesPending.set(waiting.endpoints);
  for (const { family, plans, refused } of families) {
    const label = { ip_family: familyName(family) };
    let internal = 0;
    let external = 0;
    for (const plan of plans.plans()) {
      if (plan.local.length > 0 || plan.cluster.length === 0) continue;
      if (plan.frontends.some((one) => one.kind === 'cluster-ip' && one.policy === 'local')) internal++;
      if (plan.frontends.some((one) => one.kind !== 'cluster-ip' && one.policy === 'local')) external++;
    }
    metrics.noLocalEndpoints.set({ ...label, traffic_policy: 'internal' }, internal);
    metrics.noLocalEndpoints.set({ ...label, traffic_policy: 'external' }, external);
    metrics.refused.set(label, refused.length);
  }
}
