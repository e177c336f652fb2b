import type { IpvsOptions, ProxyMode } from '../backends/backend.ts';

/** How the proxy tells pods of this node from everybody else. `node-cidr` takes the ranges from the Node object. */
export type DetectLocal =
  | { kind: 'none' }
  | { kind: 'node-cidr' }
  | { kind: 'cidr'; cidrs: readonly string[] }
  | { kind: 'bridge'; name: string }
  | { kind: 'interface-prefix'; prefix: string };

/** Settings of connection tracking; undefined leaves the kernel's value. Times in milliseconds. */
export interface ConntrackSettings {
  maxPerCore?: number;
  minimum?: number;
  tcpEstablishedTimeoutMs?: number;
  tcpCloseWaitTimeoutMs?: number;
  tcpBeLiberal?: boolean;
  udpTimeoutMs?: number;
  udpStreamTimeoutMs?: number;
}

/** How the proxy works: what upstream's configuration file says, with defaults filled in. */
export interface ProxySettings {
  mode: ProxyMode;
  detectLocal: DetectLocal;
  /** Masquerade all traffic to cluster IPs. Default false. */
  masqueradeAll: boolean;
  /** Bit of the packet mark that asks for masquerading. Default 14. */
  masqueradeBit: number;
  /** Prefixes, or `primary` for the node's own addresses. Empty: every address of the node. */
  nodePortAddresses: readonly string[];
  /** Whether node ports answer on 127.0.0.1. Default: true in iptables mode, false in the others. */
  localhostNodePorts: boolean;
  /** The node's own address, in place of what the Node object says; undefined: the Node object's. */
  nodeAddress?: string;
  /** `host:port`; empty: no server. Default 0.0.0.0:10256. */
  healthzBindAddress: string;
  /** `host:port`; empty: no server. Default 127.0.0.1:10249. */
  metricsBindAddress: string;
  /** A taken port ends the start instead of being tried again. Default false. */
  bindAddressHardFail: boolean;
  /** Profiles and log level over the status port. Default false. */
  profiling: boolean;
  /**
   * Least pause between two writes, milliseconds; the first change acts at once all the same. Undefined: as long as the last
   * write took, a second at most, so that no more than half of the time goes into writing.
   */
  minSyncPeriodMs?: number;
  /** How often the kernel is compared with the plan, milliseconds; twice this is how long a change may wait before the proxy counts as ill. Default 30,000. */
  syncPeriodMs: number;
  /** How often everything is planned anew from what is known, milliseconds. Default 900,000. */
  configSyncPeriodMs: number;
  conntrack: ConntrackSettings;
  ipvs: IpvsOptions;
  /** Of the process; undefined leaves it. */
  oomScoreAdj?: number;
  /** Feature gates that were set and change something here, by name. */
  featureGates: Readonly<Record<string, boolean>>;
  /** Add routes to cluster IPs on a node without a default route, so that its own programs reach them. Default true. */
  serviceRoutes: boolean;
}

/** Settings without a file. */
export const defaultSettings: ProxySettings = {
  mode: 'nftables',
  detectLocal: { kind: 'none' },
  masqueradeAll: false,
  masqueradeBit: 14,
  nodePortAddresses: [],
  localhostNodePorts: false,
  healthzBindAddress: '0.0.0.0:10256',
  metricsBindAddress: '127.0.0.1:10249',
  bindAddressHardFail: false,
  profiling: false,
  minSyncPeriodMs: 0,
  syncPeriodMs: 30_000,
  configSyncPeriodMs: 900_000,
  conntrack: {},
  ipvs: { scheduler: 'rr', excludeCidrs: [], strictArp: false, tcpTimeoutMs: 0, tcpFinTimeoutMs: 0, udpTimeoutMs: 0 },
  featureGates: {},
  serviceRoutes: true,
};

/** How the API server is talked to. */
export interface ClientConnection {
  /** Path; empty: as a pod does. */
  kubeconfig: string;
  /** Requests a second; negative: no limit. */
  qps: number;
  burst: number;
}

/** What a configuration says: settings, and what only a starter needs. */
export interface LoadedConfiguration {
  settings: ProxySettings;
  connection: ClientConnection;
  /** Empty: the machine's name. */
  hostnameOverride: string;
  logging: { format?: 'text' | 'json'; verbosity?: number };
  /** What is accepted and does nothing here, and what upstream's lenient reading lets pass. */
  warnings: string[];
  /** The configuration in upstream's format, with defaults filled in: /configz, --write-config-to. */
  document: Record<string, any>;
}

/** Splits `host:port` or `[host]:port`; undefined when it is neither. */
export function splitBindAddress(text: string): { host: string; port: number } | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65535) return undefined;
  return { host: match[1] ?? (match[2] || '0.0.0.0'), port };
}

/** The address with a port: the given one where it has none. */
export function withPort(address: string, port: number): string {
  if (address === '' || /:\d+$/.test(address.replace(/^[0-9a-fA-F:]*:[0-9a-fA-F:]*$/, ''))) return address;
  return address.includes(':') && !address.startsWith('[') ? `[${address}]:${port}` : `${address}:${port}`;
}
