import type { EndpointSlice, Service } from '../../src/api/index.ts';
import { endpointAddresses, endpointPort, nodeName } from '../../src/proxy/testing/packet-cases.ts';

/** Random numbers that a seed repeats (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  /** 0 to 1, without 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let value = this.#state;
    value = Math.imul(value ^ (value >>> 15), value | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) / 4_294_967_296;
  }
  /** 0 to count − 1. */
  below(count: number): number {
    return Math.floor(this.next() * count);
  }
  chance(probability: number): boolean {
    return this.next() < probability;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

/** A Service with its slice, and the addresses that it can be called by. */
export interface RandomService {
  service: Service;
  slice: EndpointSlice;
  ports: { protocol: 'TCP' | 'UDP'; port: number; nodePort: number }[];
  addresses: string[];
  affinity: boolean;
}

const sources = ['10.244.0.0/16', '10.244.0.10/32', '192.168.50.0/24', '192.168.50.2/32', '10.9.0.0/16', '0.0.0.0/0'];

/** A Service of any kind; `index` gives it addresses of its own. */
export function randomService(random: Random, index: number): RandomService {
  const type = random.pick(['ClusterIP', 'NodePort', 'LoadBalancer']);
  const clusterIp = `10.96.${2 + (index >> 7)}.${1 + (index & 127)}`;
  const externalIps = random.chance(0.25) ? [`203.0.113.${1 + (index % 250)}`] : [];
  const balancerIp = `198.51.100.${1 + (index % 250)}`;
  const balanced = type === 'LoadBalancer' && random.chance(0.9);
  const ranges = balanced && random.chance(0.5) ? [0, 1].map(() => random.pick(sources)) : undefined;
  const affinity = random.chance(0.25);
  const name = `random-${index}`;
  const protocols = random.pick([['TCP'], ['UDP'], ['TCP', 'UDP']] as const);
  const ports = protocols.map((protocol, at) => ({
    protocol,
    port: random.pick([80, 443, 8080]),
    nodePort: type === 'ClusterIP' ? 0 : 30_000 + 2 * index + at,
  }));
  const service = {
    metadata: { namespace: 'test', name, uid: name, resourceVersion: '1' },
    spec: {
      type,
      clusterIP: clusterIp,
      clusterIPs: [clusterIp],
      ...(externalIps.length > 0 ? { externalIPs: externalIps } : {}),
      ...(random.chance(0.3) ? { internalTrafficPolicy: 'Local' } : {}),
      ...(random.chance(0.4) ? { externalTrafficPolicy: 'Local' } : {}),
      ...(affinity
        ? {
            sessionAffinity: 'ClientIP',
            sessionAffinityConfig: { clientIP: { timeoutSeconds: random.pick([60, 10_800]) } },
          }
        : {}),
      ...(ranges ? { loadBalancerSourceRanges: ranges } : {}),
      ports: ports.map(({ protocol, port, nodePort }) => ({
        name: protocol.toLowerCase(),
        protocol,
        port,
        ...(nodePort > 0 ? { nodePort } : {}),
      })),
    },
    status: balanced ? { loadBalancer: { ingress: [{ ip: balancerIp }] } } : {},
  } as unknown as Service;
  const addresses = [clusterIp, ...externalIps, ...(balanced ? [balancerIp] : [])];
  return { service, slice: randomSlice(random, name, ports), ports, addresses, affinity };
}

function randomSlice(random: Random, name: string, ports: RandomService['ports']): EndpointSlice {
  const states = [
    { ready: true, serving: true, terminating: false },
    { ready: true, serving: true, terminating: false },
    { ready: false, serving: true, terminating: true },
    { ready: false, serving: false, terminating: false },
    undefined,
  ];
  const endpoints = Object.entries(endpointAddresses).flatMap(([endpoint, address]) => {
    const conditions = random.pick(states);
    if (!conditions) return [];
    return [{ addresses: [address], nodeName: endpoint === 'r1' ? 'node-b' : nodeName, conditions }];
  });
  return {
    metadata: { namespace: 'test', name: `${name}-x`, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: ports.map(({ protocol }) => ({ name: protocol.toLowerCase(), protocol, port: endpointPort })),
    endpoints,
  } as unknown as EndpointSlice;
}

/** A packet: who calls what. */
export interface RandomPacket {
  from: string;
  protocol: 'TCP' | 'UDP';
  address: string;
  port: number;
}

/** A packet to one of the Services, or beside them. */
export function randomPacket(random: Random, services: readonly RandomService[], nodeAddress: string): RandomPacket {
  const from = random.pick(['client', 'p1', 'p2', 'outside', 'node']);
  const { ports, addresses } = random.pick(services);
  const { protocol, port, nodePort } = random.pick(ports);
  if (nodePort > 0 && random.chance(0.35)) return { from, protocol, address: nodeAddress, port: nodePort };
  const kind = random.next();
  if (kind < 0.05) return { from, protocol, address: random.pick(addresses), port: 81 };
  if (kind < 0.08) return { from, protocol, address: `10.96.99.${1 + random.below(250)}`, port };
  if (kind < 0.11) return { from, protocol, address: nodeAddress, port: 39_999 };
  if (kind < 0.15)
    return { from, protocol, address: random.pick(Object.values(endpointAddresses)), port: endpointPort };
  return { from, protocol, address: random.pick(addresses), port };
}
