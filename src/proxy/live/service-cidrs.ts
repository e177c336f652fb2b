import { resources, type ServiceCIDR } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import { type ApiClient, createInformer } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';

/** Where the ranges of cluster IPs come from. */
export interface ServiceCidrSource {
  start(onChange: (cidrs: readonly string[]) => void): void;
  /** Resolves when they are known. */
  readonly synced: Promise<void>;
  stop(): void;
}

/** The ranges of all ServiceCIDR objects, sorted: one that is being deleted is there as long as Services have its addresses. */
export function readServiceCidrs(objects: readonly ServiceCIDR[]): string[] {
  return [...new Set(objects.flatMap(({ spec }) => spec?.cidrs ?? []))].sort();
}

/** Watches networking.k8s.io/v1 ServiceCIDRs. */
export function watchServiceCidrs(client: ApiClient, context: { log: Logger; clock: Clock }): ServiceCidrSource {
  let tell: (cidrs: readonly string[]) => void = () => {};
  let known = '';
  const look = (): void => {
    if (!informer.isSynced) return;
    const cidrs = readServiceCidrs(informer.list());
    if (cidrs.join() === known) return;
    known = cidrs.join();
    tell(cidrs);
  };
  const informer = createInformer(client, resources.servicecidrs, { onChange: look, ...context });
  return {
    start: (onChange) => {
      tell = onChange;
      informer.start();
    },
    synced: informer.synced.then(look),
    stop: () => informer.stop(),
  };
}
