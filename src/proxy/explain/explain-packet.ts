import type { BackendOptions, ProxyMode } from '../backends/backend.ts';
import type { Frontend, ServicePortPlan } from '../plan/types.ts';
import type { NodeView, Trace, TracedPacket, TracedWay, TraceStep } from '../tracer/packet.ts';
import { addressWithPort } from '../tracer/packet.ts';
import { renderedRules } from '../tracer/rendered-rules.ts';
import { tracePacket } from '../tracer/trace-packet.ts';
import type { KernelView } from './kernel-view.ts';
import { findReason, type Reason } from './reason.ts';

/** What should be in the kernel, as far as a packet could meet it. */
export interface Expectation {
  mode: ProxyMode;
  options: BackendOptions;
  plans: readonly ServicePortPlan[];
}

/** Where a packet can end. */
export interface Candidate {
  /** `address:port`. */
  to: string;
  probability: number;
  masquerade: boolean;
  /** On this node. */
  local: boolean;
}

/** The Service that a packet is for. */
export interface ExplainedService {
  /** `namespace/name:port`. */
  name: string;
  service: string;
  frontend: Frontend;
  affinitySeconds: number;
}

/** Everything that can be told of a packet. */
export interface Explanation {
  packet: TracedPacket;
  mode: ProxyMode;
  service?: ExplainedService;
  verdict: 'sent' | 'untouched' | 'rejected' | 'dropped' | 'mixed' | 'unroutable';
  reason: Reason;
  candidates: Candidate[];
  /** Whether the client is led to where it was before. */
  stays: boolean;
  /** The rules that one of the ways meets. */
  path: TraceStep[];
  kernel: {
    /** `unread`: nobody looked; `unknown`: nobody knows what should be there. */
    state: 'agrees' | 'differs' | 'unread' | 'unknown';
    differences: string[];
  };
}

/**
 * Explains a packet: what the rules that should be there do with it, and whether the kernel's do the same. At least one
 * of `expected` and `kernel` must be given; with the kernel alone, its rules are what is explained.
 */
export function explainPacket(
  packet: TracedPacket,
  node: NodeView,
  { expected, kernel }: { expected?: Expectation; kernel?: KernelView },
): Explanation {
  const real = kernel && tracePacket(kernel.rules, packet, node);
  const mode = (expected ?? kernel)!.mode;
  // Which endpoint a client stays with, only the kernel knows.
  const stayed = real?.ways.find((way) => way.stayed)?.to;
  const asked = stayed === undefined ? packet : { ...packet, stayedWith: stayed };
  const wanted = expected && tracePacket(renderedRules(expected.mode, expected.plans, expected.options), asked, node);
  const { ways } = (wanted ?? real)!;
  const service = expected && findService(expected.plans, packet);
  const verdicts = new Set(ways.map((way) => way.verdict));
  return {
    packet,
    mode,
    service: service?.explained,
    verdict: verdicts.size === 1 ? ways[0]!.verdict : 'mixed',
    reason: findReason(packet, ways, service, expected?.plans),
    candidates: candidates(ways, service?.plan),
    stays: ways.some((way) => way.stayed),
    path: ways[0]?.steps ?? [],
    kernel: compare(packet, wanted, real, { expected, kernel, stayed, plan: service?.plan }),
  };
}

/** The explanation of a packet that no program of the node can send, because no route leads there. */
export function explainUnroutable(packet: TracedPacket, mode: ProxyMode): Explanation {
  const text = `the node has no route to ${packet.destination}: its programs cannot call it, whatever the rules say`;
  return {
    packet,
    mode,
    verdict: 'unroutable',
    reason: { code: 'no-route', text },
    candidates: [],
    stays: false,
    path: [],
    kernel: { state: 'unread', differences: [] },
  };
}

/** The plan and frontend that a packet is for: by address, else by node port. */
export function findService(
  plans: readonly ServicePortPlan[],
  { destination, destinationPort, protocol }: TracedPacket,
) {
  const matches = (frontend: Frontend, address: string) =>
    frontend.address === address && frontend.port === destinationPort && frontend.protocol === protocol;
  for (const address of [destination, ''])
    for (const plan of plans) {
      const frontend = plan.frontends.find((one) => matches(one, address));
      if (!frontend) continue;
      const { name, service, affinitySeconds } = plan;
      return { plan, frontend, explained: { name, service, frontend, affinitySeconds } };
    }
  return undefined;
}

function candidates(ways: readonly TracedWay[], plan: ServicePortPlan | undefined): Candidate[] {
  const local = new Set(
    [...(plan?.cluster ?? []), ...(plan?.local ?? [])]
      .filter((one) => one.local)
      .map((one) => addressWithPort(one.address, one.port)),
  );
  return ways.flatMap(({ to, probability, masqueraded }) =>
    to === undefined ? [] : [{ to, probability, masquerade: masqueraded, local: local.has(to) }],
  );
}

function compare(
  packet: TracedPacket,
  wanted: Trace | undefined,
  real: Trace | undefined,
  more: { expected?: Expectation; kernel?: KernelView; stayed?: string; plan?: ServicePortPlan },
): Explanation['kernel'] {
  const { expected, kernel, stayed, plan } = more;
  if (!expected || !wanted) return { state: 'unknown', differences: [] };
  if (!kernel || !real)
    return { state: 'differs', differences: [`the kernel has no ${expected.mode} rules of a proxy`] };
  const differences = compareWays(wanted.ways, real.ways);
  const ends = [...(plan?.cluster ?? []), ...(plan?.local ?? [])].map((one) => addressWithPort(one.address, one.port));
  if (stayed !== undefined && !ends.includes(stayed))
    differences.push(`the client ${packet.source} is led to ${stayed}, which is no endpoint any more`);
  differences.push(...kernel.compareBase(expected.options).differences);
  if (plan) differences.push(...kernel.compare(plan, expected.options).differences);
  return { state: differences.length > 0 ? 'differs' : 'agrees', differences };
}

/** What the kernel's rules do otherwise, one sentence each. */
export function compareWays(wanted: readonly TracedWay[], real: readonly TracedWay[]): string[] {
  const key = (way: TracedWay) =>
    `${way.verdict}${way.to ? ` to ${way.to}` : ''}${way.masqueraded ? ', masqueraded' : ''}`;
  const should = new Map(wanted.map((way) => [key(way), way.probability]));
  const is = new Map(real.map((way) => [key(way), way.probability]));
  const differences: string[] = [];
  for (const [what, probability] of should) {
    const other = is.get(what);
    if (other === undefined) differences.push(`the kernel's rules never have it ${what}`);
    else if (Math.abs(other - probability) > 0.0005)
      differences.push(`the kernel's rules have it ${what} with ${percent(other)}, not ${percent(probability)}`);
  }
  for (const [what, probability] of is)
    if (!should.has(what)) differences.push(`the kernel's rules have it ${what} with ${percent(probability)}`);
  return differences;
}

/** A probability for people. */
export function percent(probability: number): string {
  return `${Number((probability * 100).toFixed(probability < 0.01 ? 3 : 1))} %`;
}
