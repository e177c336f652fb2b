import { type Clock, withDeadline } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import { type NodeFacts, type NodeSource, unknownNode } from '../node-facts.ts';
import type { ServiceCidrSource } from './service-cidrs.ts';
import { waitFor } from './waiting.ts';

/** How long ServiceCIDRs are waited for, milliseconds: not every cluster has them, or lets them be read. */
const rangesMs = 3_000;

/** What the proxy is told of its node and its cluster, and by whom. */
export interface ClusterFactsOptions {
  /** Watches the Node of a name; undefined: nobody does. */
  watchNode: (nodeName: string) => NodeSource | undefined;
  serviceCidrs: ServiceCidrSource | undefined;
  /** Called when something changed that rules depend on. */
  onChange: () => void;
  log: Logger;
  clock: Clock;
}

/** Follows the Node object and the ServiceCIDRs. */
export class ClusterFacts {
  readonly #options: ClusterFactsOptions;
  #source: NodeSource | undefined;
  #nodeName = '';
  /** Until the Node object is known, there is none. */
  node: NodeFacts = { ...unknownNode, eligible: false };
  serviceCidrs: readonly string[] = [];

  constructor(options: ClusterFactsOptions) {
    this.#options = options;
  }

  get nodeName(): string {
    return this.#nodeName;
  }

  /**
   * Begins to watch; resolves when the Node object is known, or known not to be there yet, and the ranges are: rules that are
   * there from before are then found as they are to be. Without the ranges it goes on after a while.
   */
  async start(nodeName: string, signal: AbortSignal): Promise<void> {
    const { serviceCidrs, onChange, log, clock } = this.#options;
    serviceCidrs?.start((cidrs) => {
      this.serviceCidrs = cidrs;
      log.info('ranges of cluster IPs', { cidrs: cidrs.join(' ') });
      onChange();
    });
    const synced = this.follow(nodeName);
    if (synced) await waitFor(`the API server (node ${nodeName})`, synced, { log, clock, signal });
    if (!serviceCidrs) return;
    const late = withDeadline('ServiceCIDRs', rangesMs, () => serviceCidrs.synced, { clock, signal });
    await late.catch((error: unknown) => {
      if (signal.aborted) throw error;
      log.warn('the ranges of cluster IPs are not known', { error });
    });
  }
  /** Watches the Node of this name from now on. */
  follow(nodeName: string): Promise<void> | undefined {
    if (nodeName === this.#nodeName) return undefined;
    this.#nodeName = nodeName;
    this.#source?.stop();
    const source = this.#options.watchNode(nodeName);
    this.#source = source;
    if (!source) {
      this.node = unknownNode;
      return undefined;
    }
    source.start((facts) => {
      if (this.#source === source) this.#take(facts);
    });
    return source.synced;
  }
  stop(): void {
    this.#source?.stop();
    this.#options.serviceCidrs?.stop();
  }

  /** Heartbeats change the object all the time; only what rules depend on is told. */
  #take(facts: NodeFacts): void {
    const before = this.node;
    this.node = facts;
    const key = ({ zone, addresses, podCidrs }: NodeFacts) => JSON.stringify([zone, addresses, podCidrs]);
    if (key(facts) === key(before)) return;
    this.#options.log.info('node', { zone: facts.zone, addresses: facts.addresses.join(' ') });
    this.#options.onChange();
  }
}
