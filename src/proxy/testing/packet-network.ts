import type { BackendOptions, PodDetector } from '../backends/backend.ts';
import type { IpFamily } from '../model/types.ts';

/**
 * The network that the packets of the table cross. Every cable ends at the node:
 *
 * ```
 *   client p1 p2 ── pod-…  ┐                 ┌ wire-…  ── r1 remote   (pods of another node)
 *   bridged ── br0 (bridge)┴── node-a ───────┴ up0     ── outside     (another machine, and the default route)
 * ```
 */
export interface HostFacts {
  4: string;
  6: string;
  /** The node's end of its cable, or the bridge that the cable is plugged into. */
  link: string;
  bridge?: true;
}

/** Everything with an address of its own but the node. */
export const hosts = {
  client: { 4: '10.244.0.10', 6: 'fd00:10:244::10', link: 'pod-client' },
  p1: { 4: '10.244.0.11', 6: 'fd00:10:244::11', link: 'pod-p1' },
  p2: { 4: '10.244.0.12', 6: 'fd00:10:244::12', link: 'pod-p2' },
  bridged: { 4: '10.244.0.20', 6: 'fd00:10:244::20', link: 'br0', bridge: true },
  remote: { 4: '10.244.1.10', 6: 'fd00:10:244:1::10', link: 'wire-remote' },
  r1: { 4: '10.244.1.11', 6: 'fd00:10:244:1::11', link: 'wire-r1' },
  outside: { 4: '192.168.50.2', 6: '2001:db8:50::2', link: 'up0' },
} as const satisfies Record<string, HostFacts>;

/** A place with an address that is not the node. */
export type HostName = keyof typeof hosts;

/** Hosts that Services send to: p1 and p2 are pods of this node, r1 is one of another node. */
export const endpointNames = ['p1', 'p2', 'r1'] as const;
/** One of {@link endpointNames}. */
export type EndpointName = (typeof endpointNames)[number];

/** Where packets start: a host, a program of the node, or one that speaks to the node over its loopback. */
export type From = HostName | 'node' | 'loopback';

/** The node under test, and the zone that its label says. */
export const nodeName = 'node-a';
export const nodeZone = 'zone-a';
/** The address by which others know the node, a second one beside it, and its end of the pods' cables. */
export const nodeAddresses = { 4: '192.168.50.1', 6: '2001:db8:50::1' } as const;
export const otherNodeAddresses = { 4: '192.168.60.1', 6: '2001:db8:60::1' } as const;
export const gateways = { 4: '10.244.0.1', 6: 'fd00:10:244::1' } as const;
export const loopbacks = { 4: '127.0.0.1', 6: '::1' } as const;

/** Addresses of all pods of the cluster, and of all Services. */
export const podCidrs = ['10.244.0.0/16', 'fd00:10:244::/48'] as const;
export const serviceCidrs = ['10.96.0.0/16', 'fd00:10:96::/112'] as const;

/** Ports that every endpoint listens on, and one of a program of the node that belongs to no Service. */
export const endpointPort = 8080;
export const otherEndpointPort = 8081;
export const nodeProgramPort = 9100;

/** What the proxy is told beside the Services. */
export interface Settings {
  detectLocal: PodDetector;
  masqueradeAll: boolean;
  nodePortAddresses: readonly string[];
  localhostNodePorts: boolean;
}

const pods: PodDetector = { kind: 'cidr', cidrs: podCidrs };

/** The configurations that cases run under; several proxies one after the other. */
export const settings = {
  standard: { detectLocal: pods, masqueradeAll: false, nodePortAddresses: [], localhostNodePorts: false },
  'pods by link name': {
    detectLocal: { kind: 'interface-prefix', prefix: 'pod-' },
    masqueradeAll: false,
    nodePortAddresses: ['192.168.50.0/24', '2001:db8:50::/64'],
    localhostNodePorts: false,
  },
  'pods by bridge': {
    detectLocal: { kind: 'bridge', name: 'br0' },
    masqueradeAll: false,
    nodePortAddresses: [],
    localhostNodePorts: true,
  },
  'pods unknown': {
    detectLocal: { kind: 'none' },
    masqueradeAll: false,
    nodePortAddresses: ['primary'],
    localhostNodePorts: false,
  },
  'masquerade all': { detectLocal: pods, masqueradeAll: true, nodePortAddresses: [], localhostNodePorts: false },
} as const satisfies Record<string, Settings>;

/** The name of one of the {@link settings}. */
export type SettingsName = keyof typeof settings;

/** The settings as backends take them. */
export function backendOptions(name: SettingsName, family: IpFamily): Omit<BackendOptions, 'ipvs'> {
  const { detectLocal, masqueradeAll, nodePortAddresses, localhostNodePorts }: Settings = settings[name];
  const primary = [`${nodeAddresses[4]}/32`, `${nodeAddresses[6]}/128`];
  return {
    family,
    pods: detectLocal,
    masqueradeAll,
    masqueradeBit: 14,
    nodePortAddresses: nodePortAddresses.flatMap((one) => (one === 'primary' ? primary : [one])),
    localhostNodePorts,
  };
}

/** The address that a packet from there has. */
export function addressOf(from: From, family: IpFamily): string {
  if (from === 'node') return nodeAddresses[family];
  return from === 'loopback' ? loopbacks[family] : hosts[from][family];
}

/** The link by which a packet from there comes in; empty: it starts on the node. */
export function linkOf(from: From): string {
  return from === 'node' || from === 'loopback' ? '' : hosts[from].link;
}
