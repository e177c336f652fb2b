import type { HostPort } from './host-ports.ts';

/** What the built-in bridge needs of the host's packet filter. */
export interface BridgeRules {
  /** Name of the bridge. */
  bridge: string;
  /** Ranges of pods: what leaves the bridge from there is masqueraded. */
  ranges: readonly { family: 4 | 6; cidr: string }[];
  ports: readonly HostPort[];
  /** Whether host ports may be reached by [::1]. */
  loopback6: boolean;
}

/**
 * Writes the rules into the kernel; they are the kernel's from then on, also when this process is gone.
 *
 * ```
 *  before routing, and for programs of the node: an address of the node, a host port ─► the pod (dnat)
 *  after routing: out to the bridge from a loopback address ─► from the bridge's address (masquerade)
 *                 from a pod to itself by a host port       ─► from the bridge's address
 *                 from a pod to anywhere but the bridge     ─► from the address of the way out
 *  at the very start: in from the bridge to a loopback address ─► dropped
 * ```
 */
export interface RuleWriter {
  /** `nftables` or `iptables`, for the log. */
  readonly kind: string;
  /** Makes the kernel's rules these. Small where little has changed since the last call. */
  apply(rules: BridgeRules): Promise<void>;
  /** Whether the rules of the last call are there still, as far as can be told cheaply. */
  intact(): boolean | Promise<boolean>;
  /** Removes all of them. */
  remove(): Promise<void>;
}
