import { answeringPort, isMasqueraded, type PacketCase, targetOf } from '../../src/proxy/testing/packet-case.ts';
import { addressOf } from '../../src/proxy/testing/packet-network.ts';
import type { Call, Reply } from './packet-lab.ts';
import type { PacketNetwork } from './packet-network.ts';

/** Milliseconds for an answer that is expected: long enough for a SYN to be sent again twice on a busy machine. */
const patienceMs = 8_000;
/** Milliseconds for a refusal: nothing limits how many are told. */
const refusalMs = 3_500;
/** Milliseconds of silence that count as dropped. */
const silenceMs = 1_200;
/** Connections in each round; with three endpoints one of them is missed in all rounds once in 10^17 cases. */
const rounds = [8, 16, 32, 48];

/** What was seen of a case. */
export interface Observation {
  replies: Reply[];
  /** Of a client that should stay: where it was sent first. */
  first?: Reply;
}

/** Why a case cannot be tried on this kernel; undefined: it can. */
export function missing(network: PacketNetwork, one: PacketCase): string | undefined {
  if (one.protocol === 'SCTP' && !network.sctp) return 'the kernel has no SCTP';
  return one.family === 6 && !network.ipv6 ? 'the kernel has no IPv6' : undefined;
}

function callOf(network: PacketNetwork, one: PacketCase): Call {
  const quiet = one.outcome === 'drop' || one.outcome === 'no-answer';
  return {
    namespace: network.place(one.from),
    protocol: one.protocol,
    ...targetOf(one),
    ...(one.from === 'node' ? { source: addressOf('node', one.family) } : {}),
    patienceMs: quiet ? silenceMs : one.outcome === 'reject' ? refusalMs : patienceMs,
  };
}

/**
 * Tries all cases at once. First each once, so that clients who stay somewhere are known there; then, for those with
 * several endpoints, until each of them has answered.
 */
export async function observe(network: PacketNetwork, cases: readonly PacketCase[]): Promise<Observation[]> {
  const first = await network.lab.call(cases.map((one) => callOf(network, one)));
  const seen: Observation[] = first.map((one) => ({ replies: [one], first: one }));
  for (const times of rounds) {
    const open = cases.flatMap((one, index) => (isSettled(one, seen[index]!) ? [] : [index]));
    if (open.length === 0) break;
    const calls = open.flatMap((index) => Array(times).fill(callOf(network, cases[index]!)) as Call[]);
    const replies = await network.lab.call(calls);
    open.forEach((index, at) => {
      seen[index]!.replies.push(...replies.slice(at * times, (at + 1) * times));
    });
  }
  return seen;
}

/** Whether more connections could tell nothing more. */
function isSettled(one: PacketCase, { replies }: Observation): boolean {
  if (typeof one.outcome === 'string') return true;
  if (replies.some((reply) => 'error' in reply)) return true;
  if (replies.length < 9) return false;
  if (one.outcome.sticky) return true;
  const names = new Set(replies.map((reply) => ('name' in reply ? reply.name : '')));
  return one.outcome.to.every((name) => names.has(name)) || names.size > one.outcome.to.length;
}

/** What was seen, in words that are equal when the outcome is: `p1:8080 masqueraded, r1:8080`, `refused`, `silence`. */
export function describeObservation(one: PacketCase, { replies }: Observation): string {
  const own = addressOf(one.from, one.family);
  const said = replies.map((reply) => {
    if ('name' in reply) {
      if (reply.name === 'echo') return 'echo';
      return `${reply.name}:${reply.port}${reply.caller === own ? '' : ' masqueraded'}`;
    }
    if (reply.error === 'ECONNREFUSED') return 'refused';
    return reply.error === 'TIMEOUT' ? 'silence' : reply.error;
  });
  return [...new Set(said)].sort().join(', ');
}

/** What is wrong with what was seen; undefined: it is what the table says. */
export function mistakeOf(one: PacketCase, observation: Observation): string | undefined {
  const { outcome } = one;
  const said = describeObservation(one, observation);
  if (outcome === 'reject') return said === 'refused' ? undefined : said;
  const answered = observation.replies.some((reply) => 'name' in reply);
  if (outcome === 'no-answer') return answered ? said : undefined;
  if (outcome === 'drop') return answered || said === 'refused' ? said : undefined;
  const wanted = outcome.to.map((name) => {
    return `${name}:${answeringPort(one, name)}${isMasqueraded(one, name) ? ' masqueraded' : ''}`;
  });
  if (!outcome.sticky) return said === wanted.sort().join(', ') ? undefined : said;
  return wanted.includes(said) ? undefined : said;
}
