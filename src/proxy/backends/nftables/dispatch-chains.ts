import {
  changeElement,
  compare,
  destinationNat,
  type Expression,
  loadAddressType,
  loadMeta,
  loadPayload,
  loadRandom,
  lookup,
  type Register,
  verdict,
} from '../../../host/nftables/index.ts';
import type { BackendOptions } from '../backend.ts';
import { type FamilyFacts, familyFacts } from './keys.ts';
import {
  type ChainPlan,
  inPrefix,
  loadDestination,
  loadFrontend,
  loadOriginal,
  loadSource,
  markForMasquerade,
  sets,
  word,
} from './layout.ts';

/** Where the destinations of the Local policy start among the slots of a frontend that has both lists. */
export const localSlots = 0x8000;

/**
 * Which chain a frontend is sent to. It depends on numbers only, so that Services share chains.
 * - `internal`: a cluster IP; masqueraded when it comes from outside the cluster
 * - `external`: masqueraded always
 * - `local`: outside traffic to the `local` destinations (0: drop), the cluster's own to all `count`
 * - `balance`: no masquerading; what `local` hands on to
 */
export interface DispatchChain {
  kind: 'internal' | 'external' | 'local' | 'balance';
  count: number;
  local?: number;
  /** Seconds; 0: none. */
  affinitySeconds: number;
  /** A node port: keys have no address. */
  node: boolean;
  /** Only for sources in the set of allowed ranges. */
  guarded: boolean;
}

/** The chain's name: says all that it depends on. */
export function chainName(chain: DispatchChain): string {
  const numbers = chain.kind === 'local' ? `${chain.count}-${chain.local ?? 0}` : `${chain.count}`;
  const sticky = chain.affinitySeconds > 0 ? `-sticky-${chain.affinitySeconds}` : '';
  return `${chain.guarded ? 'guarded-' : ''}${chain.node ? 'node-' : ''}${chain.kind}-${numbers}${sticky}`;
}

/** The chains that this one hands on to. */
export function requiredChains(chain: DispatchChain): DispatchChain[] {
  if (chain.guarded) return [{ ...chain, guarded: false }];
  if (chain.kind === 'local' && chain.count > 0) return [{ ...chain, kind: 'balance', local: undefined }];
  return [];
}

/** The chain's rules. */
export function renderChain(chain: DispatchChain, options: BackendOptions): ChainPlan {
  const facts = familyFacts[options.family];
  const name = chainName(chain);
  if (chain.guarded) return { name, rules: guardedRules(chain, facts) };
  const mark = markForMasquerade(options);
  const balance = balanceRules(chain, facts, 0, chain.count);
  if (chain.kind === 'balance') return { name, rules: balance };
  if (chain.kind === 'external') return { name, rules: [{ comment: 'masquerade', steps: mark }, ...balance] };
  if (chain.kind === 'internal') {
    const tests = options.masqueradeAll ? [[]] : notFromPods(options);
    return {
      name,
      rules: [...tests.map((test) => ({ comment: 'masquerade', steps: [...test, ...mark] })), ...balance],
    };
  }
  return { name, rules: localRules(chain, options, mark) };
}

function guardedRules(chain: DispatchChain, facts: FamilyFacts): ChainPlan['rules'] {
  const { steps, end } = loadFrontend(facts, 0, false);
  const open = chainName({ ...chain, guarded: false });
  return [
    {
      comment: 'allowed sources',
      steps: [...steps, loadSource(facts, end), lookup(sets.allowed, 0), verdict({ code: 'goto', chain: open })],
    },
    { comment: 'other sources', steps: [verdict({ code: 'drop' })] },
  ];
}

function localRules(chain: DispatchChain, options: BackendOptions, mark: Expression[]): ChainPlan['rules'] {
  const facts = familyFacts[options.family];
  const all = chain.count > 0 ? chainName({ ...chain, kind: 'balance', local: undefined }) : undefined;
  const goAll = all === undefined ? [] : [verdict({ code: 'goto', chain: all })];
  const rules: ChainPlan['rules'] = [];
  if (all !== undefined) {
    for (const test of fromPods(options)) rules.push({ comment: 'from a pod', steps: [...test, ...goAll] });
    rules.push({
      comment: 'from the node',
      steps: [loadAddressType(0, 'source'), compare(0, word(2)), ...mark, ...goAll],
    });
  }
  if ((chain.local ?? 0) > 0) rules.push(...balanceRules(chain, facts, localSlots, chain.local!));
  else rules.push({ comment: 'no local endpoint', steps: [verdict({ code: 'drop' })] });
  return rules;
}

/**
 * Sends the connection to a random one of `count` destinations, from slot `first` on. With affinity, first to the one
 * that the client was sent to before; what became of that is noted after nat (see {@link rememberChain}).
 */
function balanceRules(chain: DispatchChain, facts: FamilyFacts, first: number, count: number): ChainPlan['rules'] {
  const { steps, end } = loadFrontend(facts, 0, chain.node);
  const map = chain.node ? sets.nodeEndpoints : sets.endpoints;
  const send = (at: Register) => destinationNat(facts.family, at, at + facts.addressRegisters);
  const random: ChainPlan['rules'][number] = {
    comment: `to one of ${count}`,
    steps: [...steps, loadRandom(end, count, first), lookup(map, 0, { to: end + 1 }), send(end + 1)],
  };
  if (chain.affinitySeconds === 0) return [random];
  const known = loadFrontend(facts, facts.addressRegisters, false);
  const before = [loadSource(facts, 0), ...known.steps, lookup(sets.affinity, 0, { to: known.end }), send(known.end)];
  return [{ comment: 'to the one before', steps: before }, random];
}

/** The chain that notes, after nat, where a client of a Service with affinity was sent, or that it came again. */
export function rememberChain(affinitySeconds: number, options: BackendOptions): ChainPlan {
  const facts = familyFacts[options.family];
  const frontend = facts.addressRegisters;
  const destination = frontend + facts.addressRegisters + 2;
  const steps = [
    loadSource(facts, 0),
    ...loadOriginal(facts, frontend),
    loadDestination(facts, destination),
    loadPayload(destination + facts.addressRegisters, { base: 'transport', offset: 2, length: 2 }),
    changeElement('update', sets.affinity, 0, { value: destination, timeoutMs: affinitySeconds * 1000 }),
  ];
  return { name: rememberName(affinitySeconds), rules: [{ comment: 'the client stays', steps }] };
}

/** The name of {@link rememberChain}. */
export function rememberName(affinitySeconds: number): string {
  return `remember-${affinitySeconds}`;
}

/** Tests of which any one says that the packet comes from a pod. */
function fromPods(options: BackendOptions): Expression[][] {
  const facts = familyFacts[options.family];
  const { pods } = options;
  if (pods.kind === 'cidr')
    return ofFamily(pods.cidrs, options.family).map((cidr) => inPrefix(facts, facts.sourceOffset, cidr));
  if (pods.kind === 'none') return [];
  return [[loadMeta(0, 'iifname'), compareInterface(pods, 'equal')]];
}

/** Tests that all together say that it does not; none when pods cannot be told. */
function notFromPods(options: BackendOptions): Expression[][] {
  const facts = familyFacts[options.family];
  const { pods } = options;
  if (pods.kind === 'none') return [];
  if (pods.kind !== 'cidr') return [[loadMeta(0, 'iifname'), compareInterface(pods, 'not')]];
  const cidrs = ofFamily(pods.cidrs, options.family);
  if (cidrs.length === 0) return [];
  return [cidrs.flatMap((cidr) => inPrefix(facts, facts.sourceOffset, cidr, 'not'))];
}

function ofFamily(cidrs: readonly string[], family: 4 | 6): string[] {
  return cidrs.filter((cidr) => cidr.includes(':') === (family === 6));
}

/** A bridge by its whole name, other links by how their names begin. */
function compareInterface(
  pods: { kind: 'bridge'; name: string } | { kind: 'interface-prefix'; prefix: string },
  how: 'equal' | 'not',
): Expression {
  if (pods.kind === 'interface-prefix') return compare(0, Buffer.from(pods.prefix), how);
  const name = Buffer.alloc(16);
  name.write(pods.name);
  return compare(0, name, how);
}
