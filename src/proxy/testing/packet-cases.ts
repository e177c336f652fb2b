import type { EndpointSlice, Service } from '../../api/index.ts';

/** Where packets start. `p1`, `p2`: pods on the node; `node`: a program of the node; `outside`: another machine. */
export type From = 'p1' | 'p2' | 'client' | 'node' | 'outside';

/** Endpoints: pods on this node, and one on another. */
export const endpointAddresses = { p1: '10.244.0.11', p2: '10.244.0.12', r1: '10.244.1.11' } as const;

/** One of {@link endpointAddresses}. */
export type EndpointName = keyof typeof endpointAddresses;

/** Pod addresses of the cluster. */
export const clusterCidr = '10.244.0.0/16';
/** The port that every endpoint listens on, with every protocol. */
export const endpointPort = 8080;
/** The name of the node under test. */
export const nodeName = 'node-a';

/** Which address of the Service is used. */
export type To = 'cluster-ip' | 'external-ip' | 'load-balancer' | 'node-port' | 'unused-port';

/** What must happen. */
export type Outcome = { to: readonly EndpointName[]; masquerade: boolean; sticky?: boolean } | 'reject' | 'drop';

/** One question: where does this packet go? */
export interface PacketCase {
  name: string;
  from: From;
  to: To;
  protocol: 'TCP' | 'UDP' | 'SCTP';
  /** Fields of the Service beside addresses and ports. */
  spec: NonNullable<Service['spec']>;
  /** Endpoints and their states; default state: ready. */
  endpoints: Partial<Record<EndpointName, 'ready' | 'terminating' | 'gone'>>;
  outcome: Outcome;
}

const all = { p1: 'ready', p2: 'ready', r1: 'ready' } as const;
const both = ['p1', 'p2', 'r1'] as const;
const here = ['p1', 'p2'] as const;
const external = (to: readonly EndpointName[], masquerade: boolean): Outcome => ({ to, masquerade });

function row(
  name: string,
  from: From,
  to: To,
  outcome: Outcome,
  more: Partial<Pick<PacketCase, 'spec' | 'endpoints' | 'protocol'>> = {},
): PacketCase {
  return { name, from, to, outcome, protocol: 'TCP', spec: {}, endpoints: all, ...more };
}

const externalLocal = { externalTrafficPolicy: 'Local' };
const internalLocal = { internalTrafficPolicy: 'Local' };
const remoteOnly = { r1: 'ready' } as const;
const none = {};

/** The table. Every backend, and the plan itself, is judged by it. */
export const packetCases: readonly PacketCase[] = [
  row('a pod calls a cluster IP', 'client', 'cluster-ip', external(both, false)),
  row('the node calls a cluster IP', 'node', 'cluster-ip', external(both, true)),
  row('outside calls a cluster IP', 'outside', 'cluster-ip', external(both, true)),
  row('UDP to a cluster IP', 'client', 'cluster-ip', external(both, false), { protocol: 'UDP' }),
  row('SCTP to a cluster IP', 'client', 'cluster-ip', external(both, false), { protocol: 'SCTP' }),
  row('a pod reaches itself', 'p1', 'cluster-ip', external(['p1'], true), { endpoints: { p1: 'ready' } }),
  row('no endpoint: refused to a pod', 'client', 'cluster-ip', 'reject', { endpoints: none }),
  row('no endpoint: refused to the node', 'node', 'cluster-ip', 'reject', { endpoints: none }),
  row('no endpoint: UDP refused', 'client', 'cluster-ip', 'reject', { endpoints: none, protocol: 'UDP' }),
  row('no endpoint: node port refused', 'outside', 'node-port', 'reject', { endpoints: none }),
  row('no endpoint: external IP refused', 'outside', 'external-ip', 'reject', { endpoints: none }),
  row('one endpoint is gone', 'client', 'cluster-ip', external(['p2'], false), {
    endpoints: { p1: 'gone', p2: 'ready' },
  }),
  row('ready goes before terminating', 'client', 'cluster-ip', external(['p2'], false), {
    endpoints: { p1: 'terminating', p2: 'ready' },
  }),
  row('terminating is better than nothing', 'client', 'cluster-ip', external(['p1'], false), {
    endpoints: { p1: 'terminating' },
  }),
  row('internal policy Local', 'client', 'cluster-ip', external(here, false), { spec: internalLocal }),
  row('internal policy Local, from the node', 'node', 'cluster-ip', external(here, true), { spec: internalLocal }),
  row('internal policy Local, nothing local', 'client', 'cluster-ip', 'drop', {
    spec: internalLocal,
    endpoints: remoteOnly,
  }),
  row('internal policy Local leaves node ports alone', 'outside', 'node-port', external(both, true), {
    spec: internalLocal,
  }),
  row('a node port from outside', 'outside', 'node-port', external(both, true)),
  row('a node port from a pod', 'client', 'node-port', external(both, true)),
  row('a node port from the node', 'node', 'node-port', external(both, true)),
  row('a UDP node port', 'outside', 'node-port', external(both, true), { protocol: 'UDP' }),
  row('external policy Local: node port from outside', 'outside', 'node-port', external(here, false), {
    spec: externalLocal,
  }),
  row('external policy Local: node port from a pod', 'client', 'node-port', external(both, false), {
    spec: externalLocal,
  }),
  row('external policy Local: node port from the node', 'node', 'node-port', external(both, true), {
    spec: externalLocal,
  }),
  row('external policy Local, nothing local', 'outside', 'node-port', 'drop', {
    spec: externalLocal,
    endpoints: remoteOnly,
  }),
  row('external policy Local, nothing local, from a pod', 'client', 'node-port', external(['r1'], false), {
    spec: externalLocal,
    endpoints: remoteOnly,
  }),
  row('external policy Local leaves the cluster IP alone', 'client', 'cluster-ip', external(both, false), {
    spec: externalLocal,
  }),
  row('external policy Local: the terminating one here', 'outside', 'node-port', external(['p1'], false), {
    spec: externalLocal,
    endpoints: { p1: 'terminating', r1: 'ready' },
  }),
  row('an external IP from outside', 'outside', 'external-ip', external(both, true)),
  row('an external IP from a pod', 'client', 'external-ip', external(both, true)),
  row('an external IP from the node', 'node', 'external-ip', external(both, true)),
  row('external policy Local: external IP from outside', 'outside', 'external-ip', external(here, false), {
    spec: externalLocal,
  }),
  row('external policy Local: external IP from a pod', 'client', 'external-ip', external(both, false), {
    spec: externalLocal,
  }),
  row('a load balancer address', 'outside', 'load-balancer', external(both, true)),
  row('a load balancer address, policy Local', 'outside', 'load-balancer', external(here, false), {
    spec: externalLocal,
  }),
  row('an allowed source', 'outside', 'load-balancer', external(both, true), {
    spec: { loadBalancerSourceRanges: ['192.168.50.0/24', '10.9.0.0/16'] },
  }),
  row('a source that is not allowed', 'outside', 'load-balancer', 'drop', {
    spec: { loadBalancerSourceRanges: ['10.9.0.0/16'] },
  }),
  row('source ranges do not touch node ports', 'outside', 'node-port', external(both, true), {
    spec: { type: 'LoadBalancer', loadBalancerSourceRanges: ['10.9.0.0/16'] },
  }),
  row('a range over everything is no restriction', 'outside', 'load-balancer', external(both, true), {
    spec: { loadBalancerSourceRanges: ['10.9.0.0/16', '0.0.0.0/0'] },
  }),
  row(
    'session affinity',
    'client',
    'cluster-ip',
    { to: both, masquerade: false, sticky: true },
    {
      spec: { sessionAffinity: 'ClientIP' },
    },
  ),
  row(
    'session affinity on a node port',
    'outside',
    'node-port',
    { to: both, masquerade: true, sticky: true },
    {
      spec: { sessionAffinity: 'ClientIP' },
    },
  ),
  row(
    'session affinity and policy Local',
    'outside',
    'node-port',
    { to: here, masquerade: false, sticky: true },
    {
      spec: { sessionAffinity: 'ClientIP', ...externalLocal },
    },
  ),
  row(
    'session affinity over UDP',
    'client',
    'cluster-ip',
    { to: both, masquerade: false, sticky: true },
    {
      spec: { sessionAffinity: 'ClientIP' },
      protocol: 'UDP',
    },
  ),
];

/** The addresses of the Service of the case with this number. */
export function addressesOf(index: number): {
  clusterIp: string;
  externalIp: string;
  balancerIp: string;
  nodePort: number;
} {
  return {
    clusterIp: `10.96.1.${index + 1}`,
    externalIp: `203.0.113.${index + 1}`,
    balancerIp: `198.51.100.${index + 1}`,
    nodePort: 30_000 + index,
  };
}

/** The objects of a case, as an API server would give them. */
export function objectsOf(one: PacketCase, index: number): { service: Service; slice: EndpointSlice } {
  const { clusterIp, externalIp, balancerIp, nodePort } = addressesOf(index);
  const name = `case-${index}`;
  const type = {
    'cluster-ip': 'ClusterIP',
    'external-ip': 'ClusterIP',
    'load-balancer': 'LoadBalancer',
    'node-port': 'NodePort',
    'unused-port': 'ClusterIP',
  }[one.to];
  const service = {
    metadata: { namespace: 'test', name, uid: name, resourceVersion: '1' },
    spec: {
      type,
      clusterIP: clusterIp,
      clusterIPs: [clusterIp],
      ...(one.to === 'external-ip' ? { externalIPs: [externalIp] } : {}),
      ports: [{ name: 'main', protocol: one.protocol, port: 80, ...(type === 'ClusterIP' ? {} : { nodePort }) }],
      ...one.spec,
    },
    status: { loadBalancer: { ingress: [{ ip: balancerIp }] } },
  } as unknown as Service;
  const endpoints = Object.entries(one.endpoints)
    .filter(([, state]) => state !== 'gone')
    .map(([endpoint, state]) => ({
      addresses: [endpointAddresses[endpoint as EndpointName]],
      nodeName: endpoint === 'r1' ? 'node-b' : nodeName,
      conditions: { ready: state === 'ready', serving: true, terminating: state === 'terminating' },
    }));
  const slice = {
    metadata: { namespace: 'test', name: `${name}-x`, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: [{ name: 'main', protocol: one.protocol, port: endpointPort }],
    endpoints,
  } as unknown as EndpointSlice;
  return { service, slice };
}

/** The address and port that the case's packet is sent to. `nodeAddress`: what a node port is called by. */
export function targetOf(one: PacketCase, index: number, nodeAddress: string): { address: string; port: number } {
  const { clusterIp, externalIp, balancerIp, nodePort } = addressesOf(index);
  switch (one.to) {
    case 'cluster-ip':
      return { address: clusterIp, port: 80 };
    case 'unused-port':
      return { address: clusterIp, port: 81 };
    case 'external-ip':
      return { address: externalIp, port: 80 };
    case 'load-balancer':
      return { address: balancerIp, port: 80 };
    case 'node-port':
      return { address: nodeAddress, port: nodePort };
  }
}
