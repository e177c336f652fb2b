import { explore } from './explore.ts';
import {
  addressWithPort,
  Flight,
  type Hook,
  type NodeView,
  type Trace,
  type TraceableRules,
  type TracedPacket,
  type TracedWay,
} from './packet.ts';

/**
 * Walks a packet through rules, hook by hook, along every way that random choices can take. The routing decision
 * between the hooks is the node's: own addresses to input, everything else to forward.
 */
export function tracePacket(rules: TraceableRules, packet: TracedPacket, node: NodeView): Trace {
  const ways = new Map<string, TracedWay>();
  const all = explore((choose) => {
    const flight = new Flight(packet, node);
    const verdict = walk(rules, flight, choose);
    return { flight, verdict };
  });
  for (const { probability, result } of all) {
    const { flight, verdict } = result;
    const way = describeWay(flight, verdict, probability);
    const key = JSON.stringify([way.verdict, way.to, way.masqueraded]);
    const known = ways.get(key);
    if (known) known.probability += probability;
    else ways.set(key, way);
  }
  return { ways: [...ways.values()] };
}

function walk(rules: TraceableRules, flight: Flight, choose: Parameters<TraceableRules['run']>[1]) {
  const fromNode = flight.packet.inputInterface === '';
  const enter = (hook: Hook) => {
    flight.hook = hook;
    return rules.run(flight, choose);
  };
  const first = enter(fromNode ? 'output' : 'prerouting');
  if (first !== 'accept') return first;
  const local = flight.node.isLocal(flight.destination);
  // What a program sends to an address of its own node leaves by the loopback link and comes in again.
  if (local) {
    if (!fromNode) return enter('input');
    const out = enter('postrouting');
    return out === 'accept' ? enter('input') : out;
  }
  const middle = fromNode ? 'accept' : enter('forward');
  return middle === 'accept' ? enter('postrouting') : middle;
}

function describeWay(flight: Flight, verdict: 'accept' | 'rejected' | 'dropped', probability: number): TracedWay {
  const { translated, masqueraded, stayed, steps } = flight;
  if (verdict !== 'accept') return { probability, verdict, masqueraded: false, stayed: false, steps };
  const to = translated ? addressWithPort(flight.destination, flight.destinationPort) : undefined;
  return { probability, verdict: translated ? 'sent' : 'untouched', to, masqueraded, stayed, steps };
}
