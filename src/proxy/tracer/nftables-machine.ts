import { bytesToIp, ipToBytes } from '../../host/netlink/index.ts';
import type {
  DecodedExpression,
  InspectedChain,
  InspectedRule,
  SetElement,
  Verdict,
} from '../../host/nftables/index.ts';
import { protocolNumber } from '../backends/nftables/keys.ts';
import { ProxyError } from '../errors.ts';
import { jenkinsHash } from './jenkins-hash.ts';
import { addressWithPort, type Choose, type Flight, type HookVerdict, type TraceableRules } from './packet.ts';

/** A table as the machine reads it: rendered, or from the kernel. */
export interface TracedTable {
  chains: ReadonlyMap<string, InspectedChain>;
  /** The element that a key falls into. `flight` tells for whom (clients with affinity are the packet's own story). */
  find(set: string, key: Buffer, flight: Flight): SetElement | undefined;
  /** Whether a set's elements are put there by rules: finding one there means that the client stays. */
  isDynamic(set: string): boolean;
}

/** How deep chains may jump (NFT_JUMP_STACK_SIZE). */
const deepest = 16;
const registers = 16;

/** Interprets the expressions of an nftables table as the kernel does. */
export class NftablesMachine implements TraceableRules {
  readonly #table: TracedTable;

  constructor(table: TracedTable) {
    this.#table = table;
  }

  run(flight: Flight, choose: Choose): HookVerdict {
    const hooked = [...this.#table.chains.values()]
      .filter((chain) => chain.hook?.hook === flight.hook)
      .sort((a, b) => a.hook!.priority - b.hook!.priority);
    for (const chain of hooked) {
      const verdict = new ChainRun(this.#table, flight, choose).start(chain);
      if (verdict !== 'accept') return verdict;
    }
    return 'accept';
  }
}

/** What a rule, or a chain, leads to. */
type Outcome = { verdict: Verdict | 'reject' | 'done' } | undefined;

/** One packet in one base chain. */
class ChainRun {
  readonly #table: TracedTable;
  readonly #flight: Flight;
  readonly #choose: Choose;
  readonly #memory = Buffer.alloc(registers * 4);
  #chain = '';

  constructor(table: TracedTable, flight: Flight, choose: Choose) {
    this.#table = table;
    this.#flight = flight;
    this.#choose = choose;
  }

  start(chain: InspectedChain): HookVerdict {
    const end = this.#runChain(chain.name, 0);
    if (end === 'reject') return 'rejected';
    if (end === 'drop') return 'dropped';
    if (end === undefined && chain.hook?.policy === 'drop') {
      this.#flight.note(chain.name, 'policy', 'drop');
      return 'dropped';
    }
    return 'accept';
  }

  /** Gives what ended the packet's way through the base chain; undefined when the chain ends or returns. */
  #runChain(name: string, depth: number): 'accept' | 'drop' | 'reject' | undefined {
    const chain = this.#table.chains.get(name);
    if (!chain) throw new ProxyError('UNREADABLE_RULES', name, 'is no chain of the table');
    if (depth > deepest) throw new ProxyError('UNREADABLE_RULES', name, 'is nested too deeply');
    for (const rule of chain.rules) {
      this.#chain = name;
      const outcome = this.#runRule(rule);
      if (!outcome) continue;
      const { verdict } = outcome;
      if (verdict === 'done') return 'accept';
      if (verdict === 'reject') return 'reject';
      if (verdict.code === 'accept' || verdict.code === 'drop') return verdict.code;
      if (verdict.code === 'return') return undefined;
      if (verdict.code === 'goto') return this.#runChain(verdict.chain, depth + 1);
      if (verdict.code === 'jump') {
        const end = this.#runChain(verdict.chain, depth + 1);
        if (end) return end;
      }
    }
    return undefined;
  }

  /** Runs a rule's steps until one does not match. */
  #runRule(rule: InspectedRule): Outcome {
    for (const step of rule.steps) {
      const outcome = this.#step(step, rule);
      if (outcome === 'mismatch') return undefined;
      if (outcome) return outcome;
    }
    return undefined;
  }
  #note(rule: InspectedRule, did: string): void {
    this.#flight.note(this.#chain, rule.comment, did);
  }

  #step(step: DecodedExpression, rule: InspectedRule): Outcome | 'mismatch' {
    switch (step.name) {
      case 'payload':
        return this.#store(step.to, this.#payload(step));
      case 'meta':
        return this.#store(step.to, this.#meta(step.key));
      case 'ct':
        return this.#store(step.to, this.#connection(step.key));
      case 'fib':
        return this.#store(step.to, this.#addressType(step));
      case 'immediate':
        return this.#store(step.to, step.value);
      case 'number':
        return this.#store(step.to, littleEndian(step.offset + this.#random(step.modulus)));
      case 'hash':
        return this.#store(step.to, this.#hash(step));
      case 'bitwise':
        return this.#bitwise(step);
      case 'set-meta':
        return this.#setMeta(step, rule);
      case 'compare':
        return matches(step, this.#load(step.from, step.value.length)) ? undefined : 'mismatch';
      case 'range': {
        const value = this.#load(step.from, step.first.length);
        const inside = value.compare(step.first) >= 0 && value.compare(step.last) <= 0;
        return inside === step.invert ? 'mismatch' : undefined;
      }
      case 'lookup':
        return this.#lookup(step, rule);
      default:
        return this.#act(step, rule);
    }
  }

  #act(step: DecodedExpression, rule: InspectedRule): Outcome | 'mismatch' {
    switch (step.name) {
      case 'counter':
      case 'log':
        return undefined;
      case 'change-element':
        this.#note(rule, `remember in ${step.set}`);
        return undefined;
      case 'verdict':
        this.#note(rule, describeVerdict(step.verdict));
        return step.verdict.code === 'continue' ? undefined : { verdict: step.verdict };
      case 'nat':
        return this.#translate(step, rule);
      case 'masquerade':
        this.#flight.masqueraded = true;
        this.#note(rule, 'masquerade');
        return { verdict: 'done' };
      case 'reject':
        this.#note(rule, 'reject');
        return { verdict: 'reject' };
      default:
        throw new ProxyError(
          'UNREADABLE_RULES',
          `chain ${this.#chain}`,
          `has an expression that is not known: ${nameOf(step)}`,
        );
    }
  }

  /** Bytes go into registers with zeros up to a multiple of four. */
  #store(to: number, bytes: Buffer | 'mismatch'): undefined | 'mismatch' {
    if (bytes === 'mismatch') return bytes;
    this.#memory.fill(0, to * 4, to * 4 + ((bytes.length + 3) & ~3));
    bytes.copy(this.#memory, to * 4);
    return undefined;
  }
  #load(from: number, length: number): Buffer {
    return this.#memory.subarray(from * 4, from * 4 + length);
  }

  #payload({ base, offset, length }: { base: string; offset: number; length: number }): Buffer {
    const { packet, destination, destinationPort, sourcePort } = this.#flight;
    const addressBytes = packet.family === 4 ? 4 : 16;
    const start = packet.family === 4 ? 12 : 8;
    const network = Buffer.alloc(start + 2 * addressBytes);
    ipToBytes(packet.source).copy(network, start);
    ipToBytes(destination).copy(network, start + addressBytes);
    const transport = Buffer.alloc(4);
    transport.writeUInt16BE(sourcePort, 0);
    transport.writeUInt16BE(destinationPort, 2);
    const bytes = base === 'network' ? network : base === 'transport' ? transport : Buffer.alloc(0);
    if (offset + length > bytes.length)
      throw new ProxyError(
        'UNREADABLE_RULES',
        `chain ${this.#chain}`,
        `reads bytes ${offset} to ${offset + length} of the ${base} header`,
      );
    return bytes.subarray(offset, offset + length);
  }

  #meta(key: string): Buffer {
    const { packet, mark, hook, outputInterface } = this.#flight;
    const outside = hook === 'prerouting' || hook === 'input' || hook === 'forward';
    if (key === 'mark') return littleEndian(mark);
    if (key === 'l4proto') return Buffer.from([protocolNumber[packet.protocol]]);
    if (key === 'nfproto') return Buffer.from([packet.family === 4 ? 2 : 10]);
    if (key === 'iifname') return linkName(outside ? packet.inputInterface : '');
    if (key === 'oifname') return linkName(outputInterface);
    throw new ProxyError('UNREADABLE_RULES', `chain ${this.#chain}`, `asks for meta ${key}`);
  }

  /** A first packet: its connection is new; status tells whether it has been translated. */
  #connection(key: string): Buffer {
    const { packet, translated, masqueraded, sourcePort } = this.#flight;
    if (key === 'state') return littleEndian(8);
    if (key === 'status') return littleEndian((translated ? 0x20 : 0) | (masqueraded ? 0x10 : 0));
    if (key === 'source') return ipToBytes(packet.source);
    if (key === 'destination') return ipToBytes(packet.destination);
    if (key === 'source-port') return bigEndianPort(sourcePort);
    if (key === 'destination-port') return bigEndianPort(packet.destinationPort);
    throw new ProxyError('UNREADABLE_RULES', `chain ${this.#chain}`, `asks for ct ${key}`);
  }

  /** RTN_LOCAL is 2, RTN_UNICAST 1. */
  #addressType({ of, result }: { of: 'source' | 'destination'; result: string }): Buffer {
    if (result !== 'type') throw new ProxyError('UNREADABLE_RULES', `chain ${this.#chain}`, 'asks for a route');
    const { packet, destination, node } = this.#flight;
    return littleEndian(node.isLocal(of === 'source' ? packet.source : destination) ? 2 : 1);
  }

  #random(modulus: number): number {
    return this.#choose(new Array<number>(modulus).fill(1 / modulus));
  }
  #hash({ kind, from, length, modulus, seed, offset }: Extract<DecodedExpression, { name: 'hash' }>): Buffer {
    if (kind !== 'jenkins') throw new ProxyError('UNREADABLE_RULES', `chain ${this.#chain}`, 'uses symhash');
    const hash = jenkinsHash(this.#load(from, length), seed);
    return littleEndian(offset + Number((BigInt(hash) * BigInt(modulus)) >> 32n));
  }
  #bitwise({ from, to, mask, xor }: { from: number; to: number; mask: Buffer; xor: Buffer }): undefined {
    const value = Buffer.from(this.#load(from, mask.length));
    for (let index = 0; index < value.length; index++) value[index] = (value[index]! & mask[index]!) ^ xor[index]!;
    this.#store(to, value);
  }
  #setMeta({ key, from }: { key: string; from: number }, rule: InspectedRule): undefined {
    if (key !== 'mark') throw new ProxyError('UNREADABLE_RULES', `chain ${this.#chain}`, `sets meta ${key}`);
    this.#flight.mark = this.#load(from, 4).readUInt32LE(0);
    this.#note(rule, `mark 0x${this.#flight.mark.toString(16)}`);
  }

  #lookup(step: Extract<DecodedExpression, { name: 'lookup' }>, rule: InspectedRule): Outcome | 'mismatch' {
    // The set knows how long its keys are; what lies behind them in the registers does not count.
    const element = this.#table.find(step.set, this.#memory.subarray(step.key * 4), this.#flight);
    if (step.invert) return element ? 'mismatch' : undefined;
    if (!element) return 'mismatch';
    if (step.verdict) {
      const verdict = element.verdict ?? { code: 'continue' as const };
      this.#note(rule, `${step.set}: ${describeVerdict(verdict)}`);
      return verdict.code === 'continue' ? undefined : { verdict };
    }
    if (step.to !== undefined) this.#store(step.to, element.value ?? Buffer.alloc(0));
    if (this.#table.isDynamic(step.set)) this.#flight.stayed = true;
    this.#note(rule, `found in ${step.set}`);
    return undefined;
  }

  #translate(step: Extract<DecodedExpression, { name: 'nat' }>, rule: InspectedRule): Outcome {
    const flight = this.#flight;
    if (step.kind === 'source')
      throw new ProxyError('UNREADABLE_RULES', `chain ${this.#chain}`, 'sets a source address');
    const length = flight.packet.family === 4 ? 4 : 16;
    const address = step.address === undefined ? flight.destination : bytesToIp(this.#load(step.address, length));
    const port = step.port === undefined ? flight.destinationPort : this.#load(step.port, 2).readUInt16BE(0);
    flight.translate(address, port);
    this.#note(rule, `dnat to ${addressWithPort(address, port)}`);
    return { verdict: 'done' };
  }
}

function matches(step: { how: string; value: Buffer }, value: Buffer): boolean {
  const order = value.compare(step.value);
  switch (step.how) {
    case 'equal':
      return order === 0;
    case 'not':
      return order !== 0;
    case 'less':
      return order < 0;
    case 'at-most':
      return order <= 0;
    case 'more':
      return order > 0;
    default:
      return order >= 0;
  }
}

function describeVerdict(verdict: Verdict): string {
  return 'chain' in verdict ? `${verdict.code} ${verdict.chain}` : verdict.code;
}
function nameOf(step: DecodedExpression): string {
  return step.name === 'unknown' ? step.kind : step.name;
}
function littleEndian(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}
function bigEndianPort(port: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(port);
  return bytes;
}
function linkName(name: string): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.write(name.slice(0, 15));
  return bytes;
}
