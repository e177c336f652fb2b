import type { BackendOptions, ProxyMode } from '../backends/backend.ts';
import type { FamilyProxy } from '../family-proxy.ts';
import type { ProxyMetrics } from '../health/metrics.ts';
import type { IpFamily } from '../model/types.ts';
import type { ProblemLog } from './state.ts';
import type { StateSource } from './state-server.ts';

/** The parts of a running proxy that its state is read from. */
export interface DescribedProxy {
  mode(): ProxyMode;
  nodeName: string;
  startedAt: number;
  families(): readonly FamilyProxy[];
  options(family: IpFamily): BackendOptions;
  metrics: ProxyMetrics;
  problems: ProblemLog;
}

/** What a running proxy tells of itself. */
export function describeProxy(proxy: DescribedProxy): StateSource {
  const { nodeName, startedAt, metrics } = proxy;
  return {
    plans: (family) =>
      proxy
        .families()
        .find((one) => one.family === family)
        ?.plans.plans() ?? [],
    state: async () => ({
      mode: proxy.mode(),
      nodeName,
      pid: process.pid,
      startedAt,
      families: proxy.families().map(({ family, plans, pending, refused }) => ({
        family,
        options: proxy.options(family),
        plans: plans.size,
        pending,
        refused,
      })),
      lastSync: await lastSync(metrics),
      repairs: (await metrics.repairs.get()).values.reduce((sum, { value }) => sum + value, 0),
      problems: proxy.problems.list(),
    }),
  };
}

async function lastSync(metrics: ProxyMetrics): Promise<Partial<Record<IpFamily, number>>> {
  const { values } = await metrics.lastSync.get();
  return Object.fromEntries(
    values.map(({ labels, value }) => [labels['ip_family'] === 'IPv6' ? 6 : 4, Math.round(value * 1000)]),
  );
}
