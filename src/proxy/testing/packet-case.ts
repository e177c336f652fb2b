import type { IpFamily, Protocol } from '../model/types.ts';
import {
  type EndpointName,
  endpointPort,
  type From,
  gateways,
  loopbacks,
  nodeAddresses,
  nodeProgramPort,
  otherNodeAddresses,
  type SettingsName,
} from './packet-network.ts';
import { nodePortOf, type ServiceCase, serviceAddresses } from './service-cases.ts';

/** Which address a packet is sent to. */
export type AddressName =
  | 'cluster-ip'
  | 'external-ip'
  | 'load-balancer'
  | 'node'
  | 'other-node-address'
  | 'gateway'
  | 'loopback'
  | 'unallocated';

/** Which port. `unused`: one that the Service does not have. `program`: one that a program of the node listens on. */
export type PortName = 'service' | 'node-port' | 'unused' | 'program';

/** Where a packet is sent to. */
export interface Target {
  address: AddressName;
  port: PortName;
  /** Which of the Service's ports, by index among those with the protocol. Default 0. */
  index?: number;
}

/**
 * What must happen to a new connection. `no-answer`: it does not come to be; whether the client is told is left open.
 * `to` may name the node: then a program of the node answers.
 */
export type Outcome =
  | {
      to: readonly (EndpointName | 'node')[];
      /** Whether the endpoint sees an address of the node. One that reaches itself always does. */
      masquerade: boolean;
      /** A client stays with its endpoint. */
      sticky?: boolean;
      /** Ports that answer, where that is not {@link endpointPort}. */
      ports?: Partial<Record<EndpointName | 'node', number>>;
    }
  | 'reject'
  | 'drop'
  | 'no-answer';

/** One question: where does this packet go? */
export interface PacketCase {
  /** A sentence; no two cases have the same. */
  name: string;
  settings: SettingsName;
  service: ServiceCase;
  family: IpFamily;
  from: From;
  to: Target;
  protocol: Protocol | 'ICMP';
  outcome: Outcome;
}

/** The address and port that the case's packet is sent to. */
export function targetOf({ service, family, to, protocol }: PacketCase): { address: string; port: number } {
  const { clusterIp, externalIp, balancerIp } = serviceAddresses(service.number, family);
  const address = {
    'cluster-ip': clusterIp,
    'external-ip': externalIp,
    'load-balancer': balancerIp,
    node: nodeAddresses[family],
    'other-node-address': otherNodeAddresses[family],
    gateway: gateways[family],
    loopback: loopbacks[family],
    unallocated: family === 4 ? '10.96.250.1' : 'fd00:10:96::fa01',
  }[to.address];
  if (to.port === 'unused') return { address, port: 7 };
  if (to.port === 'program') return { address, port: nodeProgramPort };
  const indexes = service.ports.flatMap((port, index) =>
    port.protocol === protocol || protocol === 'ICMP' ? [index] : [],
  );
  const index = indexes[to.index ?? 0] ?? 0;
  if (to.port === 'node-port') return { address, port: nodePortOf(service.number, index) };
  return { address, port: service.ports[index]?.port ?? 80 };
}

/** Whether the endpoint sees another address than the client's. */
export function isMasqueraded({ from, outcome }: PacketCase, endpoint: string): boolean {
  return from === endpoint || (typeof outcome === 'object' && outcome.masquerade);
}

/** The port of the endpoint that answers. */
export function answeringPort({ outcome }: PacketCase, endpoint: EndpointName | 'node'): number {
  const said = typeof outcome === 'object' ? outcome.ports?.[endpoint] : undefined;
  return said ?? (endpoint === 'node' ? nodeProgramPort : endpointPort);
}
