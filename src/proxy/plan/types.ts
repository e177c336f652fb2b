import type { Balance } from '../model/balance.ts';
import type { Protocol } from '../model/types.ts';

/** Where a connection can be sent. */
export interface Destination {
  address: string;
  port: number;
  /** On this node: its packets to itself must be masqueraded. */
  local: boolean;
  /** How many connections it gets beside others. Undefined: 1. 0: none while others are there. */
  weight?: number;
}

/** An address that clients use: one row of the proxy's table. */
export interface Frontend {
  kind: 'cluster-ip' | 'external-ip' | 'load-balancer' | 'node-port';
  /** Empty for a node port: any of the node's addresses. */
  address: string;
  protocol: Protocol;
  port: number;
  /** Which destinations traffic from outside gets (for a cluster IP: all traffic). */
  policy: 'cluster' | 'local';
  /** Who may use it; empty: everyone. */
  sourceRanges: readonly string[];
}

/** What is to be done for one port of a Service. Knows no backend. */
export interface ServicePortPlan {
  /** `namespace/name:port`, or `namespace/name` for an unnamed port. */
  name: string;
  /** `namespace/name`. */
  service: string;
  protocol: Protocol;
  /** 0: none. */
  affinitySeconds: number;
  /** How connections are spread; undefined: as the mode does by itself. */
  balance?: Balance;
  /** Destinations under the Cluster policy. */
  cluster: readonly Destination[];
  /** Destinations under the Local policy. */
  local: readonly Destination[];
  frontends: readonly Frontend[];
}

/** A step for a backend: replace what was rendered for `before` by what `after` says. */
export interface PlanChange {
  /** Plan name and protocol: what the change is about. */
  key: string;
  before?: ServicePortPlan;
  after?: ServicePortPlan;
}

/** Where a packet to a frontend comes from. */
export type Source = 'pod' | 'node' | 'outside';

/** What happens to a new connection to a frontend. */
export type Decision =
  | { action: 'send'; to: readonly Destination[]; masquerade: boolean }
  | { action: 'reject' | 'drop' };
