import { isIPv4, parsePrefix } from '../../host/netlink/index.ts';
import type { IpFamily } from '../model/types.ts';
import type { Outcome, PacketCase, Target } from './packet-case.ts';
import {
  addressOf,
  type EndpointName,
  endpointNames,
  type From,
  linkOf,
  nodeName,
  nodeZone,
  podCidrs,
  type Settings,
  settings,
} from './packet-network.ts';
import type { EndpointCase, EndpointState, ServiceCase } from './service-cases.ts';

/**
 * What the documentation of Services promises for a packet, written down on its own: it knows nothing of the model, the
 * plan and the backends that it judges. It speaks of Services of type LoadBalancer that have every kind of address, and
 * of packets to the Service's own port or node port.
 */
export function promisedOutcome(question: Omit<PacketCase, 'name' | 'outcome'>): Outcome {
  const { service, family, from, to } = question;
  const told = settings[question.settings] as Settings;
  if (to.port === 'node-port' && !answersNodePorts(to, family, told)) return 'no-answer';
  const everywhere = usable(service.endpoints);
  const here = usable(service.endpoints.filter((one) => one.at !== 'r1'));
  if (everywhere.length === 0) return 'reject';
  if (to.address === 'load-balancer' && !mayEnter(service, from, family)) return 'drop';
  const sticky = service.spec['sessionAffinity'] === 'ClientIP';
  const send = (endpoints: readonly EndpointName[], masquerade: boolean): Outcome =>
    endpoints.length === 0
      ? 'drop'
      : {
          to: endpointNames.filter((name) => endpoints.includes(name)),
          masquerade,
          ...(sticky ? { sticky } : {}),
        };
  const clusterWide = namesOf(preferred(everywhere));
  if (to.address === 'cluster-ip') {
    const foreign = told.detectLocal.kind !== 'none' && !isPod(from, family, told);
    const policyLocal = service.spec['internalTrafficPolicy'] === 'Local';
    return send(policyLocal ? namesOf(here) : clusterWide, told.masqueradeAll || foreign);
  }
  if (service.spec['externalTrafficPolicy'] !== 'Local') return send(clusterWide, true);
  // The cluster's own traffic to an address for the outside world is not subject to the policy.
  if (from === 'node' || from === 'loopback') return send(clusterWide, true);
  if (isPod(from, family, told)) return send(clusterWide, false);
  return send(namesOf(here), false);
}

/** Ready ones; if there are none, those that are on their way out and still serve. */
function usable(endpoints: readonly EndpointCase[]): EndpointCase[] {
  const inState = (...states: EndpointState[]) => endpoints.filter((one) => states.includes(one.state));
  const ready = inState('ready', 'unsaid');
  return ready.length > 0 ? ready : inState('terminating');
}

/** Those that a hint gives to this node, or else to its zone; hints that are not on every endpoint do not count. */
function preferred(endpoints: readonly EndpointCase[]): readonly EndpointCase[] {
  if (endpoints.every((one) => (one.nodes ?? []).length > 0)) {
    const forNode = endpoints.filter((one) => one.nodes?.includes(nodeName));
    if (forNode.length > 0) return forNode;
  }
  if (endpoints.every((one) => (one.zones ?? []).length > 0)) {
    const forZone = endpoints.filter((one) => one.zones?.includes(nodeZone));
    if (forZone.length > 0) return forZone;
  }
  return endpoints;
}

function namesOf(endpoints: readonly EndpointCase[]): EndpointName[] {
  return endpoints.map((one) => one.at);
}

/** Whether the proxy takes the packet for one of a pod of the cluster (or of the node, by what it can see). */
function isPod(from: From, family: IpFamily, told: Settings): boolean {
  const link = linkOf(from);
  switch (told.detectLocal.kind) {
    case 'none':
      return false;
    case 'cidr':
      return podCidrs.some((cidr) => contains(cidr, addressOf(from, family)));
    case 'bridge':
      return link === told.detectLocal.name;
    case 'interface-prefix':
      return link.startsWith(told.detectLocal.prefix);
  }
}

/** Source ranges guard the addresses of load balancers; those of the other family let nobody in. */
function mayEnter(service: ServiceCase, from: From, family: IpFamily): boolean {
  const ranges = (service.spec['loadBalancerSourceRanges'] as string[] | undefined)?.map((range) => range.trim()) ?? [];
  if (ranges.length === 0) return true;
  return ranges.some((range) => contains(range, addressOf(from, family)));
}

/** Node ports answer on the addresses that were chosen for them; on the loopback only when asked to, and in IPv4. */
function answersNodePorts(to: Target, family: IpFamily, told: Settings): boolean {
  if (to.address === 'loopback') return family === 4 && told.localhostNodePorts;
  if (!['node', 'other-node-address', 'gateway'].includes(to.address)) return false;
  return told.nodePortAddresses.length === 0 || to.address === 'node';
}

function contains(range: string, address: string): boolean {
  if (isIPv4(address) === range.includes(':')) return false;
  const { bytes, prefixLength } = parsePrefix(range);
  const other = parsePrefix(address).bytes;
  for (let bit = 0; bit < prefixLength; bit++) {
    const mask = 0x80 >> (bit & 7);
    if ((bytes[bit >> 3]! & mask) !== (other[bit >> 3]! & mask)) return false;
  }
  return true;
}
