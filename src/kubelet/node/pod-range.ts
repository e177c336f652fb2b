import type { Node } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import type { Companion, Ground } from '../ground.ts';
import type { NodeReporter } from '../pods/ports.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';

/** What telling the runtime needs. */
export interface PodRangeOptions {
  client: RuntimeClient;
  node: () => Node | undefined;
  /** podCIDR of the configuration, for a kubelet without an API server. */
  configured: string;
  signal: AbortSignal;
  log: Logger;
  clock: Clock;
}

/** How often the Node (which is watched) is looked at, milliseconds: until it has a range, and then. */
const lookMs = { first: 100, later: 2_000 };

/** Tells the runtime which addresses pods of this node have (UpdateRuntimeConfig), when the cluster has said so. */
export async function tellPodRange(options: PodRangeOptions): Promise<void> {
  const { client, node, configured, signal, log, clock } = options;
  let told = '';
  let failures = 0;
  while (!signal.aborted) {
    const { podCIDR = '', podCIDRs = [] } = node()?.spec ?? {};
    const range = podCIDRs.length > 0 ? podCIDRs.join(',') : podCIDR || configured;
    if (range !== '' && range !== told) {
      try {
        const runtimeConfig = { networkConfig: { podCidr: range } };
        await client.runtime.updateRuntimeConfig({ runtimeConfig }, { timeoutMs: 10_000, signal });
        log.info('the runtime knows the range of pod addresses', { range });
        told = range;
        failures = 0;
      } catch (error) {
        if (failures++ === 0) log.warn('the runtime does not take the range of pod addresses', { range, error });
      }
    }
    const ms = told === '' && failures === 0 ? lookMs.first : lookMs.later;
    await clock.sleep(ms, signal).catch(() => {});
  }
}

/** The same for a whole kubelet. */
export function podRange({ settings, ...ground }: Ground, node: NodeReporter): Companion {
  const configured = settings.configuration.podCIDR;
  const tell = () => tellPodRange({ ...ground, node: () => node.node(), configured });
  return { start: () => void tell(), stop: () => {} };
}
