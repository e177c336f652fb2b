import type { EndpointSlice, Service } from '../../api/index.ts';
import type { IpFamily, Protocol } from '../model/types.ts';
import { type EndpointName, endpointPort, hosts, nodeAddresses, nodeName } from './packet-network.ts';

/**
 * What a slice says of an endpoint. `finished`: terminating, and no longer serving. `starting`: not ready yet.
 * `unsaid`: the slice has no conditions at all.
 */
export type EndpointState = 'ready' | 'terminating' | 'finished' | 'starting' | 'unsaid';

/** One endpoint of a Service. */
export interface EndpointCase {
  at: EndpointName;
  state: EndpointState;
  /** Zones and nodes that its hints name. */
  zones?: readonly string[];
  nodes?: readonly string[];
  /** The number that its slice gives to the port. Default: {@link endpointPort}. */
  port?: number;
  /** Which slice it is in. Default 0. */
  slice?: number;
}

/** One port of a Service. */
export interface PortCase {
  name: string;
  protocol: Protocol;
  port: number;
}

/** A Service and its endpoints, with which many packets are tried. */
export interface ServiceCase {
  /** What is special about it, to be read in the names of cases. */
  name: string;
  /** No other has it: gives the addresses. */
  number: number;
  endpoints: readonly EndpointCase[];
  /** Default: 80 with every protocol. */
  ports: readonly PortCase[];
  /** Fields of the spec in addition; undefined takes one away. */
  spec: Partial<Record<string, unknown>>;
  labels?: Record<string, string>;
  /** Labels of its slices besides the Service's name. */
  sliceLabels?: Record<string, string>;
  /** `status.loadBalancer.ingress` instead of one address of each family. */
  ingress?: readonly Record<string, unknown>[];
  /** Port names in slices are left out (null) instead of said. */
  namelessSlicePorts?: boolean;
}

/** The addresses and node port that the Service of that number has. */
export function serviceAddresses(number: number, family: IpFamily) {
  const [high, low] = [number >> 8, number & 255];
  const hex = (0x100 + number).toString(16);
  return family === 4
    ? {
        clusterIp: `10.96.${1 + high}.${low}`,
        externalIp: `198.18.${1 + high}.${low}`,
        balancerIp: `198.19.${1 + high}.${low}`,
      }
    : {
        clusterIp: `fd00:10:96::${hex}`,
        externalIp: `2001:db8:e::${hex}`,
        balancerIp: `2001:db8:b::${hex}`,
      };
}

/** The node port of the port with that index. */
export function nodePortOf(number: number, index: number): number {
  return 30_000 + number + 500 * index;
}

/** Port 80 with every protocol. */
export const everyProtocol: readonly PortCase[] = [
  { name: 'tcp', protocol: 'TCP', port: 80 },
  { name: 'udp', protocol: 'UDP', port: 80 },
  { name: 'sctp', protocol: 'SCTP', port: 80 },
];

/** The Service object, as an API server would give it. */
export function serviceObject(one: ServiceCase): Service {
  const four = serviceAddresses(one.number, 4);
  const six = serviceAddresses(one.number, 6);
  const name = `case-${one.number}`;
  const spec: Record<string, unknown> = {
    type: 'LoadBalancer',
    clusterIP: four.clusterIp,
    clusterIPs: [four.clusterIp, six.clusterIp],
    ipFamilies: ['IPv4', 'IPv6'],
    ipFamilyPolicy: 'RequireDualStack',
    externalIPs: [four.externalIp, six.externalIp],
    externalTrafficPolicy: 'Cluster',
    internalTrafficPolicy: 'Cluster',
    sessionAffinity: 'None',
    ...one.spec,
  };
  if (spec['type'] === 'ClusterIP') delete spec['externalTrafficPolicy'];
  const open = spec['type'] !== 'ClusterIP';
  spec['ports'] = one.ports.map(({ name, protocol, port }, index) => ({
    ...(name === '' ? {} : { name }),
    protocol,
    port,
    targetPort: 'main',
    ...(open ? { nodePort: nodePortOf(one.number, index) } : {}),
  }));
  for (const [field, value] of Object.entries(spec)) if (value === undefined) delete spec[field];
  const ingress = one.ingress ?? [four, six].map(({ balancerIp }) => ({ ip: balancerIp, ipMode: 'VIP' }));
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'test', name, uid: name, resourceVersion: '1', labels: one.labels ?? {} },
    spec,
    ...(spec['type'] === 'LoadBalancer' ? { status: { loadBalancer: { ingress } } } : {}),
  } as unknown as Service;
}

const conditions: Record<EndpointState, object> = {
  ready: { ready: true, serving: true, terminating: false },
  terminating: { ready: false, serving: true, terminating: true },
  finished: { ready: false, serving: false, terminating: true },
  starting: { ready: false, serving: false, terminating: false },
  unsaid: {},
};

/** Its slices, of both families. */
export function sliceObjects(one: ServiceCase): EndpointSlice[] {
  const groups = new Map<string, EndpointCase[]>();
  for (const endpoint of one.endpoints) {
    const key = `${endpoint.slice ?? 0} ${endpoint.port ?? endpointPort}`;
    groups.set(key, [...(groups.get(key) ?? []), endpoint]);
  }
  return ([4, 6] as const).flatMap((family) =>
    [...groups.values()].map((endpoints, index) => sliceObject(one, family, endpoints, index)),
  );
}

function sliceObject(one: ServiceCase, family: IpFamily, endpoints: readonly EndpointCase[], index: number) {
  const service = `case-${one.number}`;
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      namespace: 'test',
      name: `${service}-ipv${family}-${index}`,
      labels: { 'kubernetes.io/service-name': service, ...one.sliceLabels },
    },
    addressType: `IPv${family}`,
    ports: one.ports.map(({ name, protocol }) => ({
      ...(one.namelessSlicePorts ? {} : { name }),
      protocol,
      port: endpoints[0]!.port ?? endpointPort,
    })),
    endpoints: endpoints.map(({ at, state, zones, nodes }) => ({
      addresses: [hosts[at][family]],
      nodeName: at === 'r1' ? 'node-b' : nodeName,
      conditions: conditions[state],
      ...(zones || nodes
        ? {
            hints: {
              ...(zones ? { forZones: zones.map((zone) => ({ name: zone })) } : {}),
              ...(nodes ? { forNodes: nodes.map((node) => ({ name: node })) } : {}),
            },
          }
        : {}),
    })),
  } as unknown as EndpointSlice;
}

/** What the node itself is called by, for externalIPs. */
export const ownAddresses = [nodeAddresses[4], nodeAddresses[6]];
