import { parsePrefix } from '../../../host/netlink/index.ts';
import {
  bitwise,
  type ChainHook,
  compare,
  type Expression,
  loadAddressType,
  loadConntrack,
  loadImmediate,
  loadMeta,
  loadPayload,
  lookup,
  lookupVerdict,
  masquerade,
  type Register,
  rejectPort,
  type SetDeclaration,
  setMark,
  verdict,
} from '../../../host/nftables/index.ts';
import type { BackendOptions } from '../backend.ts';
import { type FamilyFacts, familyFacts } from './keys.ts';

/**
 * The table that carries Services, one for each family:
 *
 * ```
 *  nat prerouting, output ─► services ─► dispatch: address . protocol . port ─► internal-N, external-N, local-N-M …
 *                                        (then the same with "any address" for node ports)      │
 *                            endpoints: address . protocol . port . random slot ─► address . port ◄┘ ─► dnat
 *  filter prerouting, output, after nat ─► refused: reject or drop; what is left for a cluster IP: reject
 *  nat postrouting ─► a pod that reached itself, and what is marked: masquerade
 * ```
 * A Service is only elements of maps: adding one writes a few elements, whatever the number of Services. Chains depend
 * on the number of endpoints alone, and stay once made.
 */
export const tableName = 'deckhand-proxy';

/** Names of the sets and maps. */
export const sets = {
  dispatch: 'dispatch',
  endpoints: 'endpoints',
  refused: 'refused',
  clusterAddresses: 'cluster-addresses',
  hairpin: 'hairpin',
  allowed: 'allowed',
  affinity: 'affinity',
  affineEndpoints: 'affine-endpoints',
} as const;

/** A chain with its rules; each rule has a comment, by which it is recognised later. */
export interface ChainPlan {
  name: string;
  hook?: ChainHook;
  rules: { comment: string; steps: Expression[] }[];
}

const dstnat = -100;
const srcnat = 100;
/** Most clients with affinity at a time. */
const affinityEntries = 1_048_576;

/** The sets and maps. */
export function declareSets(facts: FamilyFacts): SetDeclaration[] {
  const address = facts.addressType;
  const frontend = [address, 'inet_proto', 'inet_service'] as const;
  const destination = [address, 'inet_service'] as const;
  return [
    { name: sets.dispatch, key: frontend, value: 'verdict' },
    { name: sets.endpoints, key: [...frontend, 'mark'], value: destination },
    { name: sets.refused, key: frontend, value: 'verdict' },
    { name: sets.clusterAddresses, key: [address] },
    { name: sets.hairpin, key: [address, address] },
    { name: sets.allowed, key: [...frontend, address], interval: true },
    {
      name: sets.affinity,
      key: [address, ...frontend],
      value: destination,
      dynamic: true,
      timeout: true,
      size: affinityEntries,
    },
    { name: sets.affineEndpoints, key: [...frontend, ...destination] },
  ];
}

/** Registers of a frontend key that starts at `at`. */
export function frontendRegisters(facts: FamilyFacts, at: Register) {
  const protocol = at + facts.addressRegisters;
  return { address: at, protocol, port: protocol + 1, end: protocol + 2 };
}

/** Loads address . protocol . port of the packet; `node`: any address in the place of the packet's. */
export function loadFrontend(facts: FamilyFacts, at: Register, node: boolean): Expression[] {
  const registers = frontendRegisters(facts, at);
  return [
    node
      ? loadImmediate(registers.address, facts.anyAddress)
      : loadPayload(registers.address, {
          base: 'network',
          offset: facts.destinationOffset,
          length: facts.addressBytes,
        }),
    loadMeta(registers.protocol, 'l4proto'),
    loadPayload(registers.port, { base: 'transport', offset: 2, length: 2 }),
  ];
}

/** Loads the packet's source address. */
export function loadSource(facts: FamilyFacts, at: Register): Expression {
  return loadPayload(at, { base: 'network', offset: facts.sourceOffset, length: facts.addressBytes });
}

/** Marks the packet so that postrouting masquerades it. */
export function markForMasquerade(options: BackendOptions): Expression[] {
  const bit = (1 << options.masqueradeBit) >>> 0;
  return [loadMeta(0, 'mark'), bitwise(0, word(~bit >>> 0), word(bit)), setMark(0)];
}

/** Goes on when the destination is one of the node's addresses that take node port traffic. */
function isNodeAddress(options: BackendOptions): Expression[][] {
  const facts = familyFacts[options.family];
  const local = [loadAddressType(0, 'destination'), compare(0, word(2))];
  const loopback: Expression[] = [];
  if (!options.localhostNodePorts)
    loopback.push(...inPrefix(facts, facts.destinationOffset, options.family === 4 ? '127.0.0.0/8' : '::1/128', 'not'));
  const prefixes = options.nodePortAddresses.filter((cidr) => cidr.includes(':') === (options.family === 6));
  if (options.nodePortAddresses.length === 0) return [[...local, ...loopback]];
  return prefixes.map((cidr) => [...local, ...loopback, ...inPrefix(facts, facts.destinationOffset, cidr)]);
}

/** Goes on when the address at the offset of the IP header is (or is not) in the prefix. */
export function inPrefix(
  facts: FamilyFacts,
  offset: number,
  cidr: string,
  how: 'equal' | 'not' = 'equal',
): Expression[] {
  const { bytes, prefixLength } = parsePrefix(cidr);
  const mask = Buffer.from(
    bytes.map((_, index) => (0xff00 >> Math.min(8, Math.max(0, prefixLength - index * 8))) & 0xff),
  );
  const network = Buffer.from(bytes.map((byte, index) => byte & mask[index]!));
  return [
    loadPayload(0, { base: 'network', offset, length: facts.addressBytes }),
    bitwise(0, mask, Buffer.alloc(mask.length)),
    compare(0, network, how),
  ];
}

/** The chains that are always there. Referred chains stand before those that refer to them. */
export function baseChains(options: BackendOptions): ChainPlan[] {
  const facts = familyFacts[options.family];
  const hook = (type: ChainHook['type'], at: ChainHook['hook'], priority: number): ChainHook => ({
    type,
    hook: at,
    priority,
  });
  const jump = (chain: string) => [verdict({ code: 'jump', chain })];
  const newOnly = [loadConntrack(0, 'state'), bitwise(0, word(8), word(0)), compare(0, word(0), 'not')];
  return [
    { name: 'reject', rules: [{ comment: 'no endpoint', steps: [rejectPort(facts.family)] }] },
    { name: 'services', rules: serviceRules(options, facts) },
    { name: 'refuse', rules: refuseRules(options, facts) },
    { name: 'masquerade', rules: masqueradeRules(options, facts) },
    {
      name: 'nat-prerouting',
      hook: hook('nat', 'prerouting', dstnat),
      rules: [{ comment: '', steps: jump('services') }],
    },
    { name: 'nat-output', hook: hook('nat', 'output', dstnat), rules: [{ comment: '', steps: jump('services') }] },
    {
      name: 'nat-postrouting',
      hook: hook('nat', 'postrouting', srcnat),
      rules: [{ comment: '', steps: jump('masquerade') }],
    },
    {
      name: 'filter-prerouting',
      hook: hook('filter', 'prerouting', dstnat + 1),
      rules: [...guardRules(options, facts), { comment: 'new connections', steps: [...newOnly, ...jump('refuse')] }],
    },
    {
      name: 'filter-output',
      hook: hook('filter', 'output', dstnat + 1),
      rules: [{ comment: 'new connections', steps: [...newOnly, ...jump('refuse')] }],
    },
  ];
}

function serviceRules(options: BackendOptions, facts: FamilyFacts): ChainPlan['rules'] {
  const toNode = isNodeAddress(options).map((test) => ({
    comment: 'node ports',
    steps: [...test, ...loadFrontend(facts, 0, true), lookupVerdict(sets.dispatch, 0)],
  }));
  return [
    { comment: 'service addresses', steps: [...loadFrontend(facts, 0, false), lookupVerdict(sets.dispatch, 0)] },
    ...toNode,
  ];
}

/** After nat: what still has a Service's address was sent nowhere. */
function refuseRules(options: BackendOptions, facts: FamilyFacts): ChainPlan['rules'] {
  const toNode = isNodeAddress(options).map((test) => ({
    comment: 'node ports without endpoint',
    steps: [...test, ...loadFrontend(facts, 0, true), lookupVerdict(sets.refused, 0)],
  }));
  const destination = loadPayload(0, {
    base: 'network',
    offset: facts.destinationOffset,
    length: facts.addressBytes,
  });
  return [
    { comment: 'no endpoint', steps: [...loadFrontend(facts, 0, false), lookupVerdict(sets.refused, 0)] },
    {
      comment: 'port that no service has',
      steps: [destination, lookup(sets.clusterAddresses, 0), rejectPort(facts.family)],
    },
    ...toNode,
  ];
}

function masqueradeRules(options: BackendOptions, facts: FamilyFacts): ChainPlan['rules'] {
  const bit = (1 << options.masqueradeBit) >>> 0;
  const both = [
    loadSource(facts, 0),
    loadPayload(facts.addressRegisters, {
      base: 'network',
      offset: facts.destinationOffset,
      length: facts.addressBytes,
    }),
  ];
  return [
    { comment: 'a pod that reached itself', steps: [...both, lookup(sets.hairpin, 0), masquerade()] },
    {
      comment: 'marked',
      steps: [
        loadMeta(0, 'mark'),
        bitwise(0, word(bit), word(0)),
        compare(0, word(0), 'not'),
        loadMeta(0, 'mark'),
        bitwise(0, word(0xffffffff), word(bit)),
        setMark(0),
        masquerade({ fullyRandom: true }),
      ],
    },
  ];
}

/** With route_localnet on, nobody outside may reach 127.0.0.0/8: only answers to what we translated may pass. */
function guardRules(options: BackendOptions, facts: FamilyFacts): ChainPlan['rules'] {
  if (!options.localhostNodePorts || options.family === 6) return [];
  const loopbackName = Buffer.alloc(16);
  loopbackName.write('lo');
  return [
    {
      comment: 'loopback addresses from outside',
      steps: [
        loadMeta(0, 'iifname'),
        compare(0, loopbackName, 'not'),
        ...inPrefix(facts, facts.destinationOffset, '127.0.0.0/8'),
        loadConntrack(0, 'status'),
        bitwise(0, word(0x20), word(0)),
        compare(0, word(0)),
        loadConntrack(0, 'state'),
        bitwise(0, word(0x6), word(0)),
        compare(0, word(0)),
        verdict({ code: 'drop' }),
      ],
    },
  ];
}

/** A number as a register holds it. */
export function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}
