import type { Balance } from './balance.ts';

/** The protocols that Services balance. */
export type Protocol = 'TCP' | 'UDP' | 'SCTP';

/** The two IP families; a proxy of one family knows nothing of the other. */
export type IpFamily = 4 | 6;

/** A Service in one family, reduced to what a proxy needs. */
export interface ServiceModel {
  /** `namespace/name`. */
  key: string;
  clusterIp: string;
  externalIps: readonly string[];
  /** Addresses of load balancers that are captured here (ipMode VIP). */
  loadBalancerIps: readonly string[];
  /** Prefixes that may use the load balancer addresses; empty: everyone. */
  sourceRanges: readonly string[];
  internalPolicy: 'cluster' | 'local';
  externalPolicy: 'cluster' | 'local';
  /** How long a client stays with its endpoint, seconds; 0: no affinity. */
  affinitySeconds: number;
  /** How connections are spread; undefined: as the mode does by itself. */
  balance?: Balance;
  /** 0: none. */
  healthCheckNodePort: number;
  ports: readonly ServicePortModel[];
}

/** One port of a Service. */
export interface ServicePortModel {
  /** Empty when the Service has one unnamed port. */
  name: string;
  protocol: Protocol;
  port: number;
  /** 0: none. */
  nodePort: number;
}

/** One endpoint of one Service port, merged over the slices. */
export interface EndpointModel {
  address: string;
  port: number;
  /** On this node. */
  local: boolean;
  ready: boolean;
  serving: boolean;
  terminating: boolean;
  /** How many connections it gets beside others. Undefined: 1. 0: none while others are there. */
  weight?: number;
  /** Zones and nodes that should prefer it; empty: no hint. */
  zoneHints: readonly string[];
  nodeHints: readonly string[];
}
