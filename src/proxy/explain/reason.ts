import { parsePrefix } from '../../host/netlink/index.ts';
import type { Frontend, ServicePortPlan } from '../plan/types.ts';
import type { TracedPacket, TracedWay } from '../tracer/packet.ts';

/** Why a packet ends as it does, in one word for programs and a sentence for people. */
export interface Reason {
  code:
    | 'endpoint'
    | 'no-endpoints'
    | 'no-local-endpoints'
    | 'source-range'
    | 'unused-port'
    | 'unallocated-address'
    | 'not-a-service'
    | 'no-route'
    | 'other-rule';
  text: string;
}

/** Finds the reason from what the rules did and from the plans. Without plans, from the rules alone. */
export function findReason(
  packet: TracedPacket,
  ways: readonly TracedWay[],
  found: { plan: ServicePortPlan; frontend: Frontend } | undefined,
  plans: readonly ServicePortPlan[] | undefined,
): Reason {
  const [way] = ways;
  const { destination, destinationPort, protocol } = packet;
  const where = `${destination}, ${protocol} port ${destinationPort}`;
  if (!way || way.verdict === 'untouched') return notOurs(where, found);
  if (ways.some((one) => one.verdict === 'sent'))
    return {
      code: 'endpoint',
      text: found ? `${where} belongs to ${found.plan.name}` : `${where} is led on by the rules`,
    };
  const by = way.steps.at(-1);
  const rule = by ? `by the rule ${JSON.stringify(by.rule)} of ${by.chain}` : '';
  if (found) return refusedService(packet, found, rule);
  if (plans?.some((plan) => plan.frontends.some((one) => one.kind === 'cluster-ip' && one.address === destination)))
    return { code: 'unused-port', text: `a Service has ${destination}, but not ${protocol} port ${destinationPort}` };
  if (plans && /cluster|service/i.test(by?.rule ?? ''))
    return { code: 'unallocated-address', text: `${destination} is an address for Services that no Service has` };
  return { code: 'other-rule', text: `${way.verdict} ${rule}` };
}

function notOurs(where: string, found: { plan: ServicePortPlan } | undefined): Reason {
  if (found)
    return { code: 'other-rule', text: `${where} belongs to ${found.plan.name}, but no rule leads this packet there` };
  return { code: 'not-a-service', text: `${where} is no address of a Service: the proxy leaves the packet alone` };
}

function refusedService(
  { source }: TracedPacket,
  { plan, frontend }: { plan: ServicePortPlan; frontend: Frontend },
  rule: string,
): Reason {
  if (plan.cluster.length === 0 && plan.local.length === 0)
    return { code: 'no-endpoints', text: `${plan.name} has no endpoint that is ready, or still serves while it ends` };
  if (frontend.sourceRanges.length > 0 && !frontend.sourceRanges.some((range) => contains(range, source)))
    return {
      code: 'source-range',
      text: `${source} is in none of the source ranges of ${plan.name} (${frontend.sourceRanges.join(', ')})`,
    };
  if (frontend.policy === 'local' && plan.local.length === 0) {
    const field = frontend.kind === 'cluster-ip' ? 'internalTrafficPolicy' : 'externalTrafficPolicy';
    return { code: 'no-local-endpoints', text: `${plan.name} has ${field} Local, and no endpoint on this node` };
  }
  if (frontend.policy === 'cluster' && plan.cluster.length === 0)
    return { code: 'no-endpoints', text: `${plan.name} has no endpoint for the policy Cluster` };
  return { code: 'other-rule', text: `refused ${rule}` };
}

/** Whether an address is in a prefix. */
export function contains(prefix: string, address: string): boolean {
  const { bytes, prefixLength } = parsePrefix(prefix);
  const other = parsePrefix(address).bytes;
  if (bytes.length !== other.length) return false;
  for (let bit = 0; bit < prefixLength; bit++) {
    const mask = 0x80 >> (bit & 7);
    if ((bytes[bit >> 3]! & mask) !== (other[bit >> 3]! & mask)) return false;
  }
  return true;
}
