import type { IpFamily } from '../model/types.ts';
import type { PlanChange, ServicePortPlan } from '../plan/types.ts';

/** The kernel mechanisms that Services can be written into. */
export type ProxyMode = 'nftables' | 'iptables' | 'ipvs';
export const proxyModes: readonly ProxyMode[] = ['nftables', 'iptables', 'ipvs'];

/** How pods on this node are told from everybody else, for masquerading. */
export type PodDetector =
  | { kind: 'none' }
  | { kind: 'cidr'; cidrs: readonly string[] }
  | { kind: 'bridge'; name: string }
  | { kind: 'interface-prefix'; prefix: string };

/** What only the mode ipvs is told. */
export interface IpvsOptions {
  /** The scheduler of Services that name none. */
  scheduler: string;
  /** Answer ARP for an address only on the link that carries it (sysctls arp_ignore and arp_announce). */
  strictArp: boolean;
  /** Prefixes whose virtual servers are somebody else's: never touched. */
  excludeCidrs: readonly string[];
  /** How long the kernel keeps idle connections, milliseconds; 0: as it is. */
  tcpTimeoutMs: number;
  tcpFinTimeoutMs: number;
  udpTimeoutMs: number;
}

/** What every backend is told about its node. */
export interface BackendOptions {
  family: IpFamily;
  pods: PodDetector;
  /** Masquerade all traffic to cluster IPs. */
  masqueradeAll: boolean;
  /** The bit of the packet mark that asks for masquerading, 0 to 31. */
  masqueradeBit: number;
  /** Prefixes of node addresses that take node port traffic; empty: all of the node's addresses. */
  nodePortAddresses: readonly string[];
  /** Whether node ports answer on 127.0.0.1 (IPv4, needs route_localnet). */
  localhostNodePorts: boolean;
  /** Ranges that cluster IPs are from: what goes to an address in them that no Service has, gets no answer. Default none. */
  serviceCidrs?: readonly string[];
  /** For the mode ipvs; its defaults when left out. */
  ipvs?: IpvsOptions;
}

/** What was put right, by the table (or what the mode has instead) it was in. */
export type Repairs = ReadonlyMap<string, number>;

/** What {@link Backend.inspect} found. */
export interface Finding {
  /** What differs, in a few words, for the log. */
  what: string;
  /**
   * Writes what differs, and nothing else. The engine calls it while neither adopt() nor apply() runs; changes may have been
   * applied since the look, so it goes by what the plans are now. Gives what it wrote.
   */
  repair(): Promise<Repairs>;
}

/** A change that somebody else made to what a backend wrote. */
export interface ForeignChange {
  /** The program, where the kernel says so. */
  program?: string;
  processId?: number;
  /** Notices were lost: anything may have changed. */
  lost?: boolean;
}

/** What a backend found and did. */
export interface AppliedChange {
  /** Rules, elements or chains written or removed. */
  written: number;
  /** Those that were there already and were left alone. */
  kept: number;
}

/** Renders plans into one kernel mechanism, for one family. */
export interface Backend {
  readonly mode: ProxyMode;
  /** Makes the kernel hold exactly these plans: what is right already is left alone. */
  adopt(plans: readonly ServicePortPlan[]): Promise<AppliedChange>;
  /** Applies changes together. After an error the kernel is as before (nftables) or adopt() must be called again. */
  apply(changes: readonly PlanChange[]): Promise<AppliedChange>;
  /**
   * From now on, tells when somebody else changed what this backend wrote, at once or within 200 ms. Its own writes, and what
   * others do to what is theirs, are not told of. Ends with close().
   */
  watch?(onForeignChange: (change: ForeignChange) => void): void;
  /**
   * Looks for what differs from the plans in the kernel: after a notice of watch() only at what the notices named, where they
   * tell; with `thorough` at everything. Works in slices, none of which holds up the event loop for more than 50 ms, and
   * writes nothing: the engine goes on applying changes meanwhile. Undefined: nothing differs. Without it, adopt() is called.
   */
  inspect?(plans: () => Iterable<ServicePortPlan>, thorough: boolean): Promise<Finding | undefined>;
  /** Addresses of the node came or went: for modes whose rules name them. */
  addressesChanged?(): void;
  /** What of the plan this mode cannot do, in words for an event; it does what is nearest. */
  unsupported?(plan: ServicePortPlan): string | undefined;
  /** Whether what the kernel holds is still what was written, as far as it can be told cheaply. */
  verify(): Promise<boolean>;
  /**
   * Takes away everything that a backend of this mode ever made, ours or upstream's. What the mode `inUse` has in common with
   * it (chains of iptables) stays.
   */
  remove(inUse?: ProxyMode): Promise<void>;
  close(): void;
}
