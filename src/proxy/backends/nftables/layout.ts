import { parsePrefix } from '../../../host/netlink/index.ts';
import {
  bitwise,
  type ChainHook,
  compare,
  type Expression,
  loadAddressType,
  loadConntrack,
  loadMeta,
  loadOriginalDestination,
  loadOriginalPort,
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
 *                            (node-dispatch: protocol . port, on the node's own addresses)     │
 *                            endpoints: address . protocol . port . random slot ─► address . port ◄┘ ─► dnat
 *  filter prerouting, output, after nat ─► remember: who went where, for Services with affinity
 *                                       ─► refuse: no endpoint, or a port of a cluster IP that no Service has
 *  nat postrouting ─► source-nat: a pod that reached itself, and what is marked
 * ```
 * A Service is only elements of maps: adding one writes a few elements, whatever the number of Services. Chains depend
 * on the number of endpoints alone, and stay once made. No rule uses one map's result in the key of another: the nft
 * program (1.0.6) stops at such a rule when it lists the table.
 */
export const tableName = 'deckhand-proxy';

/** The chain that answers for Services without endpoints. */
export const refuseChain = 'refuse-port';

/** Names of the sets and maps. Those of node ports have no address in their keys. */
export const sets = {
  dispatch: 'dispatch',
  nodeDispatch: 'node-dispatch',
  endpoints: 'endpoints',
  nodeEndpoints: 'node-endpoints',
  refused: 'refused',
  nodeRefused: 'node-refused',
  sticky: 'sticky',
  nodeSticky: 'node-sticky',
  clusterAddresses: 'cluster-addresses',
  hairpin: 'hairpin',
  allowed: 'allowed',
  affinity: 'affinity',
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
  const node = ['inet_proto', 'inet_service'] as const;
  return [
    { name: sets.dispatch, key: frontend, value: 'verdict' },
    { name: sets.nodeDispatch, key: node, value: 'verdict' },
    { name: sets.endpoints, key: [...frontend, 'mark'], value: destination },
    { name: sets.nodeEndpoints, key: [...node, 'mark'], value: destination },
    { name: sets.refused, key: frontend, value: 'verdict' },
    { name: sets.nodeRefused, key: node, value: 'verdict' },
    { name: sets.sticky, key: frontend, value: 'verdict' },
    { name: sets.nodeSticky, key: node, value: 'verdict' },
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
  ];
}

/** Loads a frontend's key from the packet, from register `at` on: address (not for a node port), protocol, port. */
export function loadFrontend(facts: FamilyFacts, at: Register, node: boolean): { steps: Expression[]; end: Register } {
  const protocol = node ? at : at + facts.addressRegisters;
  const steps = [loadMeta(protocol, 'l4proto'), loadPayload(protocol + 1, { base: 'transport', offset: 2, length: 2 })];
  if (!node) steps.unshift(loadDestination(facts, at));
  return { steps, end: protocol + 2 };
}

/** Loads the packet's destination address. */
export function loadDestination(facts: FamilyFacts, at: Register): Expression {
  return loadPayload(at, { base: 'network', offset: facts.destinationOffset, length: facts.addressBytes });
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
  // A packet for ::1 does not leave the loopback link, whatever becomes of its destination.
  if (!options.localhostNodePorts || options.family === 6)
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
  const state = (bits: number, how: 'equal' | 'not') => hasBits('state', bits, how);
  const newConnections = [
    { comment: 'sent somewhere', steps: [...state(8, 'not'), ...hasBits('status', 0x20, 'not'), ...jump('remember')] },
    { comment: 'sent nowhere', steps: [...state(8, 'not'), ...hasBits('status', 0x20, 'equal'), ...jump('refuse')] },
  ];
  return [
    { name: refuseChain, rules: [{ comment: 'no endpoint', steps: [rejectPort(facts.family)] }] },
    { name: 'services', rules: serviceRules(options, facts) },
    { name: 'remember', rules: rememberRules(facts) },
    { name: 'refuse', rules: refuseRules(options, facts) },
    { name: 'source-nat', rules: masqueradeRules(options, facts) },
    {
      name: 'nat-prerouting',
      hook: hook('nat', 'prerouting', dstnat),
      rules: [{ comment: '', steps: jump('services') }],
    },
    { name: 'nat-output', hook: hook('nat', 'output', dstnat), rules: [{ comment: '', steps: jump('services') }] },
    {
      name: 'nat-postrouting',
      hook: hook('nat', 'postrouting', srcnat),
      rules: [{ comment: '', steps: jump('source-nat') }],
    },
    {
      name: 'filter-prerouting',
      hook: hook('filter', 'prerouting', dstnat + 1),
      rules: [...guardRules(options, facts), ...newConnections],
    },
    {
      name: 'filter-output',
      hook: hook('filter', 'output', dstnat + 1),
      rules: newConnections,
    },
  ];
}

/** Goes on when some (`not`) or none (`equal`) of the bits of the connection's state or status are set. */
function hasBits(what: 'state' | 'status', bits: number, zero: 'equal' | 'not'): Expression[] {
  return [loadConntrack(0, what), bitwise(0, word(bits), word(0)), compare(0, word(0), zero)];
}

function serviceRules(options: BackendOptions, facts: FamilyFacts): ChainPlan['rules'] {
  const toNode = isNodeAddress(options).map((test) => ({
    comment: 'node ports',
    steps: [...test, ...loadFrontend(facts, 0, true).steps, lookupVerdict(sets.nodeDispatch, 0)],
  }));
  return [
    { comment: 'service addresses', steps: [...loadFrontend(facts, 0, false).steps, lookupVerdict(sets.dispatch, 0)] },
    ...toNode,
  ];
}

/** After nat: connections of Services with affinity, by the address that the client used. */
function rememberRules(facts: FamilyFacts): ChainPlan['rules'] {
  const protocol = facts.addressRegisters;
  return [
    {
      comment: 'service addresses',
      steps: [...loadOriginal(facts, 0), lookupVerdict(sets.sticky, 0)],
    },
    { comment: 'node ports', steps: [...loadOriginal(facts, 0), lookupVerdict(sets.nodeSticky, protocol)] },
  ];
}

/** Loads the frontend that the client used: address . protocol . port before translation. */
export function loadOriginal(facts: FamilyFacts, at: Register): Expression[] {
  const protocol = at + facts.addressRegisters;
  return [loadOriginalDestination(at, facts.family), loadMeta(protocol, 'l4proto'), loadOriginalPort(protocol + 1)];
}

/** After nat: what still has a Service's address was sent nowhere. */
function refuseRules(options: BackendOptions, facts: FamilyFacts): ChainPlan['rules'] {
  const toNode = isNodeAddress(options).map((test) => ({
    comment: 'node ports without endpoint',
    steps: [...test, ...loadFrontend(facts, 0, true).steps, lookupVerdict(sets.nodeRefused, 0)],
  }));
  return [
    { comment: 'no endpoint', steps: [...loadFrontend(facts, 0, false).steps, lookupVerdict(sets.refused, 0)] },
    {
      comment: 'port that no service has',
      steps: [loadDestination(facts, 0), lookup(sets.clusterAddresses, 0), rejectPort(facts.family)],
    },
    ...(options.serviceCidrs ?? []).map((cidr) => ({
      comment: `address in ${cidr} that no service has`,
      steps: [...inPrefix(facts, facts.destinationOffset, cidr), verdict({ code: 'drop' })],
    })),
    ...toNode,
  ];
}

function masqueradeRules(options: BackendOptions, facts: FamilyFacts): ChainPlan['rules'] {
  const bit = (1 << options.masqueradeBit) >>> 0;
  const both = [loadSource(facts, 0), loadDestination(facts, facts.addressRegisters)];
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
        ...hasBits('status', 0x20, 'equal'),
        ...hasBits('state', 0x6, 'equal'),
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
