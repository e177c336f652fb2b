import { ipToBytes, parsePrefix } from '../../host/netlink/index.ts';
import { ProxyError } from '../errors.ts';
import type { ParsedRule, RuleTest } from './iptables-rules.ts';
import { splitEndpoint } from './nftables-rendered.ts';
import {
  addressWithPort,
  type Choose,
  type Flight,
  type Hook,
  type HookVerdict,
  type TraceableRules,
} from './packet.ts';

/** iptables tables as the machine reads them: rendered, or what iptables-save printed. */
export interface TracedTables {
  /** The rules of a chain in order; undefined when there is no such chain. */
  chain(table: 'nat' | 'filter', name: string): readonly ParsedRule[] | undefined;
  /** Policies of built-in chains that are not ACCEPT: `filter FORWARD` to `DROP`. */
  policies?: ReadonlyMap<string, string>;
  /** Whether the packet's client is in a list of the `recent` match. */
  isRecent(list: string, flight: Flight): boolean;
  /** Whether an ipset has the entry, as iptables asks: `10.96.0.1,tcp:80`. */
  inSet?(set: string, entry: SetQuestion): boolean;
}

/** What a `set` match asks: the packet's fields, of which the set takes as many as its type has. */
export interface SetQuestion {
  directions: readonly string[];
  flight: Flight;
}

const hooks: Record<Hook, { table: 'nat' | 'filter'; chain: string }[]> = {
  prerouting: [{ table: 'nat', chain: 'PREROUTING' }],
  input: [
    { table: 'filter', chain: 'INPUT' },
    { table: 'nat', chain: 'INPUT' },
  ],
  forward: [{ table: 'filter', chain: 'FORWARD' }],
  output: [
    { table: 'nat', chain: 'OUTPUT' },
    { table: 'filter', chain: 'OUTPUT' },
  ],
  postrouting: [{ table: 'nat', chain: 'POSTROUTING' }],
};

const deepest = 32;

/** Interprets rules of the nat and filter tables as the kernel does. */
export class IptablesMachine implements TraceableRules {
  readonly #tables: TracedTables;

  constructor(tables: TracedTables) {
    this.#tables = tables;
  }

  run(flight: Flight, choose: Choose): HookVerdict {
    for (const { table, chain } of hooks[flight.hook]) {
      const verdict = new TableRun(this.#tables, table, flight, choose).start(chain);
      if (verdict !== 'accept') return verdict;
    }
    return 'accept';
  }
}

/** One packet in one table at one hook. */
class TableRun {
  readonly #tables: TracedTables;
  readonly #table: 'nat' | 'filter';
  readonly #flight: Flight;
  readonly #choose: Choose;

  constructor(tables: TracedTables, table: 'nat' | 'filter', flight: Flight, choose: Choose) {
    this.#tables = tables;
    this.#table = table;
    this.#flight = flight;
    this.#choose = choose;
  }

  start(chain: string): HookVerdict {
    const end = this.#runChain(chain, 0);
    if (end) return end;
    const policy = this.#tables.policies?.get(`${this.#table} ${chain}`) ?? 'ACCEPT';
    if (policy === 'ACCEPT') return 'accept';
    this.#note(chain, 'policy', 'drop');
    return 'dropped';
  }

  /** Gives what ended the way through the table; undefined when the chain ends or returns. */
  #runChain(name: string, depth: number): HookVerdict | undefined {
    const rules = this.#tables.chain(this.#table, name);
    if (!rules) {
      if (depth === 0) return undefined;
      throw new ProxyError('UNREADABLE_RULES', name, `is no chain of the ${this.#table} table`);
    }
    if (depth > deepest) throw new ProxyError('UNREADABLE_RULES', name, 'is nested too deeply');
    for (const rule of rules) {
      if (!rule.tests.every((test) => this.#holds(test, rule) !== test.invert)) continue;
      if (rule.target === 'RETURN') return undefined;
      const end = this.#take(rule, name, depth);
      if (end === 'return') return undefined;
      if (end) return end;
    }
    return undefined;
  }

  #take(rule: ParsedRule, chain: string, depth: number): HookVerdict | 'return' | undefined {
    const flight = this.#flight;
    const option = (name: string) => rule.targetOptions.get(name) ?? '';
    const note = (did: string) => this.#note(chain, rule.comment || rule.text, did);
    switch (rule.target) {
      case '':
        return undefined;
      case 'ACCEPT':
        note('accept');
        return 'accept';
      case 'DROP':
        note('drop');
        return 'dropped';
      case 'REJECT':
        note('reject');
        return 'rejected';
      case 'MARK':
        flight.mark = setMark(flight.mark, option('set-xmark'));
        note(`mark 0x${flight.mark.toString(16)}`);
        return undefined;
      case 'MASQUERADE':
        flight.masqueraded = true;
        note('masquerade');
        return 'accept';
      case 'DNAT': {
        const { address, port } = splitEndpoint(option('to-destination'));
        flight.translate(address, port);
        note(`dnat to ${addressWithPort(address, port)}`);
        return 'accept';
      }
      default: {
        if (rule.targetOptions.size > 0)
          throw new ProxyError('UNREADABLE_RULES', rule.text, `has a target that is not known: ${rule.target}`);
        note(`${rule.goto ? 'goto' : 'jump'} ${rule.target}`);
        const end = this.#runChain(rule.target, depth + 1);
        return end ?? (rule.goto ? 'return' : undefined);
      }
    }
  }
  #note(chain: string, rule: string, did: string): void {
    this.#flight.note(`${this.#table} ${chain}`, rule, did);
  }

  /** Whether a test holds, before it is inverted. */
  #holds({ name, value }: RuleTest, rule: ParsedRule): boolean {
    const { packet, destination, destinationPort, sourcePort, node, mark, hook, outputInterface } = this.#flight;
    const incoming = hook === 'prerouting' || hook === 'input' || hook === 'forward';
    switch (name) {
      case 'source':
        return inPrefix(packet.source, value);
      case 'destination':
        return inPrefix(destination, value);
      case 'protocol':
        return value === packet.protocol.toLowerCase();
      case 'in-interface':
        return isLink(incoming ? packet.inputInterface : '', value);
      case 'out-interface':
        return isLink(outputInterface, value);
      case 'dport':
        return inPorts(destinationPort, value);
      case 'dports':
        return value.split(',').some((one) => inPorts(destinationPort, one));
      case 'sport':
        return inPorts(sourcePort, value);
      case 'mark': {
        const [wanted = 0, mask = 0xffffffff] = value.split('/').map(Number);
        return (mark & mask) >>> 0 === wanted >>> 0;
      }
      case 'dst-type':
        return node.isLocal(destination) === (value === 'LOCAL');
      case 'src-type':
        return node.isLocal(packet.source) === (value === 'LOCAL');
      case 'ctstate':
        return value.split(',').some((state) => this.#isState(state));
      case 'match-set': {
        const [set = '', directions = ''] = value.split(' ');
        return this.#tables.inSet?.(set, { directions: directions.split(','), flight: this.#flight }) ?? false;
      }
      default:
        return this.#holdsMatch(name, value, rule);
    }
  }

  #isState(state: string): boolean {
    if (state === 'NEW') return true;
    if (state === 'DNAT') return this.#flight.translated;
    if (state === 'SNAT') return this.#flight.masqueraded;
    return false;
  }

  /** Matches with several options: the first one decides, the others belong to it. */
  #holdsMatch(name: string, value: string, rule: ParsedRule): boolean {
    const option = (other: string) => rule.tests.find((test) => test.name === other)?.value ?? '';
    switch (name) {
      case 'mode': {
        if (value !== 'random') return this.#everyNth(Number(option('every')));
        const chance = Number(option('probability'));
        return this.#choose([chance, 1 - chance]) === 0;
      }
      case 'rcheck':
      case 'update': {
        const known = this.#tables.isRecent(option('name'), this.#flight);
        if (known) this.#flight.stayed = true;
        return known;
      }
      case 'set':
      case 'probability':
      case 'every':
      case 'packet':
      case 'seconds':
      case 'reap':
      case 'name':
      case 'mask':
      case 'rsource':
        return true;
      default:
        throw new ProxyError('UNREADABLE_RULES', rule.text, `has a test that is not known: ${name}`);
    }
  }
  /** A rule that holds for every nth packet: which one this packet is, nobody can tell. */
  #everyNth(every: number): boolean {
    return every > 0 && this.#choose([1 / every, 1 - 1 / every]) === 0;
  }
}

function setMark(mark: number, text: string): number {
  const [value = 0, mask = 0xffffffff] = text.split('/').map(Number);
  return ((mark & ~mask) ^ value) >>> 0;
}

/** `address/length`, or `address/mask` where the mask is no prefix (as in 0.0.0.3/0.0.0.15). */
function inPrefix(address: string, prefix: string): boolean {
  const bytes = ipToBytes(address);
  const { network, mask } = readPrefix(prefix);
  if (bytes.length !== network.length) return false;
  return bytes.every((byte, index) => (byte & mask[index]!) === (network[index]! & mask[index]!));
}

function readPrefix(text: string): { network: Buffer; mask: Buffer } {
  const [address = '', length = ''] = text.split('/');
  if (/[.:]/.test(length)) return { network: ipToBytes(address), mask: ipToBytes(length) };
  const { bytes, prefixLength } = parsePrefix(text);
  const mask = bytes.map((_, index) => (0xff00 >> Math.min(8, Math.max(0, prefixLength - index * 8))) & 0xff);
  return { network: bytes, mask: Buffer.from(mask) };
}

/** `+` at the end stands for anything. */
function isLink(link: string, wanted: string): boolean {
  return wanted.endsWith('+') ? link.startsWith(wanted.slice(0, -1)) : link === wanted;
}

function inPorts(port: number, range: string): boolean {
  const [first = 0, last = first] = range.split(':').map(Number);
  return port >= first && port <= last;
}
