import type { IpFamily, Protocol } from '../model/types.ts';

/** The first packet of a connection, before any rule has seen it. */
export interface TracedPacket {
  family: IpFamily;
  protocol: Protocol;
  source: string;
  /** Default 40000. */
  sourcePort?: number;
  destination: string;
  destinationPort: number;
  /** The link by which it comes in; empty: a program of the node sends it. */
  inputInterface: string;
  /** Where this client was sent before, `address:port` (IPv6 in brackets), for Services with affinity. */
  stayedWith?: string;
}

/** What rules can ask about the node besides the packet. */
export interface NodeView {
  /** Whether an address is one of the node's own (what the routing table calls local). */
  isLocal(address: string): boolean;
}

/** The hooks that a packet passes. */
export type Hook = 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting';

/** One rule that a packet met and that did something to it. */
export interface TraceStep {
  hook: Hook;
  chain: string;
  /** The rule's comment, or its text. */
  rule: string;
  /** What it did: `jump services`, `dnat to 10.244.0.11:8080`, `drop`. */
  did: string;
}

/** One way that the packet may take. */
export interface TracedWay {
  /** 0 to 1. */
  probability: number;
  verdict: 'sent' | 'untouched' | 'rejected' | 'dropped';
  /** `address:port` that the rules chose; only when sent. */
  to?: string;
  /** Whether the source address is replaced by one of the node's. */
  masqueraded: boolean;
  /** Whether the client was led to where it was before. */
  stayed: boolean;
  steps: TraceStep[];
}

/** All ways of a packet, those that are alike in verdict, destination and masquerading as one. */
export interface Trace {
  ways: TracedWay[];
}

/** The text of an address with a port: IPv6 in brackets. */
export function addressWithPort(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** A packet under way: what rules have changed of it, and what they can ask of it. */
export class Flight {
  readonly packet: TracedPacket;
  readonly node: NodeView;
  readonly sourcePort: number;
  destination: string;
  destinationPort: number;
  mark = 0;
  outputInterface = '';
  translated = false;
  masqueraded = false;
  /** A lookup among clients with affinity answered. */
  stayed = false;
  readonly steps: TraceStep[] = [];
  hook: Hook = 'prerouting';

  constructor(packet: TracedPacket, node: NodeView) {
    this.packet = packet;
    this.node = node;
    this.sourcePort = packet.sourcePort ?? 40_000;
    this.destination = packet.destination;
    this.destinationPort = packet.destinationPort;
  }
  note(chain: string, rule: string, did: string): void {
    this.steps.push({ hook: this.hook, chain, rule, did });
  }
  /** Gives the connection another destination, for good. */
  translate(address: string, port: number): void {
    this.destination = address;
    this.destinationPort = port;
    this.translated = true;
  }
}

/** Where one hook leaves a packet. */
export type HookVerdict = 'accept' | 'rejected' | 'dropped';

/** Rules of one mode that a packet can be walked through. */
export interface TraceableRules {
  /** Runs the hook `flight.hook`. `choose` is asked for every random number. */
  run(flight: Flight, choose: Choose): HookVerdict;
}

/** Gives one of the numbers 0 to weights.length − 1; each has its weight as probability. */
export type Choose = (weights: readonly number[]) => number;
