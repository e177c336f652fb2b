import { ConntrackSocket } from '../../host/conntrack/index.ts';
import { listAddresses, NetlinkSocket } from '../../host/netlink/index.ts';
import type { Logger } from '../../log/index.ts';
import type { FamilyProxy } from '../family-proxy.ts';
import type { ProxyMetrics } from '../health/metrics.ts';
import type { IpFamily } from '../model/types.ts';
import type { PlanChange } from '../plan/types.ts';
import { deleteStaleFlows, type FlowTargets, targetsOfChanges, targetsOfPlans } from './stale-flows.ts';

/** Looks for stale flows behind the changes of rules, one look after another, beside the writing of rules. */
export interface ConntrackCleaner {
  /** Rules follow these changes now. */
  check(family: IpFamily, changes: readonly PlanChange[]): void;
  /** Rules may differ from before in any way. */
  checkAll(): void;
  settled(): Promise<void>;
}

/** Makes a cleaner. Without connection tracking in the kernel there is nothing to clean: told once. */
export function conntrackCleaner(options: {
  families: readonly FamilyProxy[];
  metrics: ProxyMetrics;
  log: Logger;
}): ConntrackCleaner {
  const { families, metrics, log } = options;
  let last: Promise<void> = Promise.resolve();
  let failed = false;

  const clean = async (family: IpFamily, targets: FlowTargets): Promise<void> => {
    const label = { ip_family: `IPv${family}` };
    const done = metrics.conntrackDuration.startTimer(label);
    const socket = new ConntrackSocket();
    try {
      const own = nodeAddresses(family);
      const deleted = await deleteStaleFlows(socket, targets, {
        family,
        isNodeAddress: (address) => own.has(address),
        yield: () => new Promise((resolve) => setImmediate(resolve)),
      });
      metrics.conntrackDeleted.inc(label, deleted);
      if (deleted > 0) log.debug('stale flows deleted', { family, deleted });
    } finally {
      socket.close();
      done();
    }
  };
  const queue = (family: IpFamily, targets: FlowTargets): void => {
    if (targets.size === 0) return;
    last = last
      .then(() => clean(family, targets))
      .catch((error: unknown) => {
        if (!failed) log.warn('stale flows not deleted', { error });
        failed = true;
      });
  };
  return {
    check: (family, changes) => queue(family, targetsOfChanges(changes)),
    checkAll: () => {
      for (const { family, plans } of families) queue(family, targetsOfPlans(plans.plans()));
    },
    settled: () => last,
  };
}

function nodeAddresses(family: IpFamily): Set<string> {
  using socket = new NetlinkSocket({ protocol: 'route' });
  return new Set(listAddresses(socket, family).map(({ address }) => address));
}
