import { ipToBytes, parsePrefix } from '../../../host/netlink/index.ts';
import type { SetElement, Verdict } from '../../../host/nftables/index.ts';
import type { Frontend, ServicePortPlan } from '../../plan/types.ts';
import { chainName, type DispatchChain, localSlots, rememberName } from './dispatch-chains.ts';
import { destinationBytes, type FamilyFacts, frontendBytes, slotBytes } from './keys.ts';
import { refuseChain, sets } from './layout.ts';

const refuse: Verdict = { code: 'goto', chain: refuseChain };

/** What a plan is in the table: elements of its maps, and the chains they lead to. */
export interface Rendered {
  elements: { set: string; element: SetElement }[];
  chains: DispatchChain[];
}

/** Elements that several Services may share; they are counted. */
export const sharedSets: ReadonlySet<string> = new Set([sets.clusterAddresses, sets.hairpin]);

/** Renders one Service port. Pure. */
export function renderPlan(plan: ServicePortPlan, facts: FamilyFacts): Rendered {
  const rendered: Rendered = { elements: [], chains: [] };
  for (const frontend of plan.frontends) renderFrontend(plan, frontend, facts, rendered);
  const local = new Set([...plan.cluster, ...plan.local].filter((one) => one.local).map((one) => one.address));
  for (const address of local) {
    const bytes = ipToBytes(address);
    rendered.elements.push({ set: sets.hairpin, element: { key: Buffer.concat([bytes, bytes]) } });
  }
  return rendered;
}

function renderFrontend(plan: ServicePortPlan, frontend: Frontend, facts: FamilyFacts, rendered: Rendered): void {
  const key = frontendBytes(facts, frontend.address, frontend.protocol, frontend.port);
  const add = (set: string, element: SetElement) => rendered.elements.push({ set, element });
  if (frontend.kind === 'cluster-ip') add(sets.clusterAddresses, { key: ipToBytes(frontend.address) });
  const { cluster, local } = plan;
  const node = frontend.kind === 'node-port';
  const refused = node ? sets.nodeRefused : sets.refused;
  const internal = frontend.kind === 'cluster-ip';
  if (cluster.length === 0 && local.length === 0) return void add(refused, { key, verdict: refuse });
  const first = internal && frontend.policy === 'local' ? local : cluster;
  const second = !internal && frontend.policy === 'local' ? local : undefined;
  if (first.length === 0 && second === undefined)
    return void add(refused, { key, verdict: internal ? { code: 'drop' } : refuse });
  const chain: DispatchChain = {
    kind: internal ? 'internal' : second ? 'local' : 'external',
    count: first.length,
    local: second?.length,
    affinitySeconds: plan.affinitySeconds,
    node,
    guarded: frontend.sourceRanges.length > 0,
  };
  rendered.chains.push(chain);
  add(node ? sets.nodeDispatch : sets.dispatch, { key, verdict: { code: 'goto', chain: chainName(chain) } });
  for (const [base, list] of [
    [0, first],
    [localSlots, second ?? []],
  ] as const)
    list.forEach((one, slot) => {
      const value = destinationBytes(facts, one.address, one.port);
      add(node ? sets.nodeEndpoints : sets.endpoints, { key: slotBytes(key, base + slot), value });
    });
  if (plan.affinitySeconds > 0) {
    const verdict: Verdict = { code: 'goto', chain: rememberName(plan.affinitySeconds) };
    add(node ? sets.nodeSticky : sets.sticky, { key, verdict });
  }
  for (const range of frontend.sourceRanges) add(sets.allowed, rangeElement(key, range));
}

/** frontend . source range, as an interval over all four fields. */
function rangeElement(frontend: Buffer, range: string): SetElement {
  const { bytes, prefixLength } = parsePrefix(range);
  const first = Buffer.from(bytes);
  const last = Buffer.from(bytes);
  for (let bit = prefixLength; bit < bytes.length * 8; bit++) {
    first[bit >> 3]! &= ~(0x80 >> (bit & 7));
    last[bit >> 3]! |= 0x80 >> (bit & 7);
  }
  return { key: Buffer.concat([frontend, first]), keyEnd: Buffer.concat([frontend, last]) };
}

/** A short text that is equal for elements with the same key. */
export function elementKey(element: SetElement): string {
  return element.key.toString('latin1') + (element.keyEnd?.toString('latin1') ?? '');
}

/** A short text that is equal for elements with the same meaning. */
export function elementValue(element: SetElement): string {
  if (element.verdict) return 'chain' in element.verdict ? element.verdict.chain : ` ${element.verdict.code}`;
  return element.value?.toString('latin1') ?? '';
}
