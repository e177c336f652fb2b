/** What a virtual server is known by. */
export interface VirtualServerKey {
  address: string;
  port: number;
  protocol: 'TCP' | 'UDP' | 'SCTP';
}

/** A virtual server: where clients connect to. */
export interface VirtualServer extends VirtualServerKey {
  /** Name of the kernel's module without `ip_vs_`: rr, wrr, lc, wlc, lblc, lblcr, sh, dh, sed, nq, mh … */
  scheduler: string;
  /** How long a client stays with its real server, seconds; 0: not at all. */
  persistenceSeconds: number;
  /** Options of the scheduler, as `IP_VS_SVC_F_SCHED1` and up; see {@link schedulerFlag}. */
  schedulerFlags: number;
}

/** Options of schedulers (linux/ip_vs.h). What they mean is the scheduler's: for sh and mh they are fallback and port. */
export const schedulerFlag = { first: 0x8, second: 0x10, third: 0x20 } as const;

/** A real server: where packets go. Ours are always masqueraded (NAT). */
export interface RealServer {
  address: string;
  port: number;
  /** 0: nothing new goes there. */
  weight: number;
}

/** A real server with what goes on there. */
export interface RealServerState extends RealServer {
  activeConnections: number;
  inactiveConnections: number;
  persistentConnections: number;
}

/** What the kernel says of its IPVS. */
export interface IpvsInfo {
  /** As `1.2.1`. */
  version: string;
  /** Size of the table of connections. */
  connectionTableSize: number;
}

/** Timeouts of connections, seconds. */
export interface IpvsTimeouts {
  tcp: number;
  tcpFin: number;
  udp: number;
}
