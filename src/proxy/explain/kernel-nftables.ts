import { type InspectedChain, NftablesInspector, NftablesSocket, type SetElement } from '../../host/nftables/index.ts';
import type { BackendOptions } from '../backends/backend.ts';
import { chainName, type DispatchChain } from '../backends/nftables/dispatch-chains.ts';
import { familyFacts } from '../backends/nftables/keys.ts';
import { declareSets, sets, tableName } from '../backends/nftables/layout.ts';
import { elementKey, elementValue, renderPlan } from '../backends/nftables/render.ts';
import type { IpFamily } from '../model/types.ts';
import type { ServicePortPlan } from '../plan/types.ts';
import { describeKey } from '../tracer/describe-key.ts';
import { readTable } from '../tracer/nftables-kernel.ts';
import { NftablesMachine } from '../tracer/nftables-machine.ts';
import { renderBaseChains, renderDispatchChains } from '../tracer/nftables-rendered.ts';
import type { TraceableRules } from '../tracer/packet.ts';
import type { Comparison, KernelView } from './kernel-view.ts';

/** The proxy's nftables table; undefined when there is none. @throws NetlinkError */
export function readNftables(family: IpFamily): KernelView | undefined {
  const inspector = new NftablesInspector();
  const table = readTable(inspector, family);
  if (table) return new NftablesView(family, inspector, table.chains);
  inspector.close();
  return undefined;
}

class NftablesView implements KernelView {
  readonly mode = 'nftables' as const;
  readonly rules: TraceableRules;
  readonly #family: IpFamily;
  readonly #inspector: NftablesInspector;
  readonly #chains: ReadonlyMap<string, InspectedChain>;
  readonly #compared = new Map<string, string[]>();
  #elements: Map<string, Map<string, SetElement>> | undefined;

  constructor(family: IpFamily, inspector: NftablesInspector, chains: ReadonlyMap<string, InspectedChain>) {
    this.#family = family;
    this.#inspector = inspector;
    this.#chains = chains;
    this.rules = new NftablesMachine(readTable(inspector, family)!);
  }

  compare(plan: ServicePortPlan, options: BackendOptions): Comparison {
    const { elements, chains } = renderPlan(plan, familyFacts[this.#family]);
    const found: Comparison = { parts: elements.length, missing: 0, differences: [] };
    for (const { set, element } of elements) this.#compareElement(set, element, found);
    for (const chain of chains) this.#compareDispatch(chain, options, found);
    return found;
  }

  compareBase(options: BackendOptions): Comparison {
    const chains = renderBaseChains(options);
    const differences = chains.flatMap((chain) => this.#compareChain(chain));
    return { parts: chains.length, missing: 0, differences };
  }

  surplus(plans: readonly ServicePortPlan[]): string[] {
    const wanted = new Set(
      plans.flatMap((plan) =>
        renderPlan(plan, familyFacts[this.#family]).elements.map(({ set, element }) => `${set} ${elementKey(element)}`),
      ),
    );
    return [...(this.#elements ?? [])].flatMap(([set, elements]) =>
      set === sets.affinity
        ? []
        : [...elements]
            .filter(([key]) => !wanted.has(`${set} ${key}`))
            .map(([, { key }]) => `${set} ${describeKey(set, key, this.#family)} belongs to no Service`),
    );
  }

  preload(): void {
    const facts = familyFacts[this.#family];
    const socket = new NftablesSocket();
    try {
      this.#elements = new Map(
        declareSets(facts).map(({ name }) => {
          const found = socket.listElements({ family: facts.family, name: tableName }, name);
          return [name, new Map([...found].map((element) => [elementKey(element), element]))];
        }),
      );
    } finally {
      socket.close();
    }
  }

  close(): void {
    this.#inspector.close();
  }

  #compareElement(set: string, wanted: SetElement, into: Comparison): void {
    const where = `${set} ${describeKey(set, wanted.key, this.#family)}`;
    const found = this.#find(set, wanted);
    if (!found) {
      into.missing++;
      into.differences.push(`${where} is missing`);
    } else if (elementValue(found) !== elementValue(wanted)) into.differences.push(`${where} leads elsewhere`);
  }
  #find(set: string, wanted: SetElement): SetElement | undefined {
    if (this.#elements) return this.#elements.get(set)?.get(elementKey(wanted));
    const table = { family: familyFacts[this.#family].family, name: tableName };
    return this.#inspector.element(table, set, wanted.key);
  }

  /** Many Services share a chain: each is compared once. */
  #compareDispatch(chain: DispatchChain, options: BackendOptions, into: Comparison): void {
    const name = chainName(chain);
    let differences = this.#compared.get(name);
    if (!differences) {
      differences = renderDispatchChains(chain, options).flatMap((one) => this.#compareChain(one));
      this.#compared.set(name, differences);
    }
    into.differences.push(...differences);
  }

  #compareChain(chain: InspectedChain): string[] {
    const found = this.#chains.get(chain.name);
    if (!found) return [`chain ${chain.name} is missing`];
    if (JSON.stringify(found.hook ?? {}) !== JSON.stringify({ ...chain.hook, ...policyOf(chain) }))
      return [`chain ${chain.name} is hooked in elsewhere`];
    const at = chain.rules.findIndex((rule, index) => rulesText(found.rules[index]) !== rulesText(rule));
    const { comment } = chain.rules[at] ?? {};
    if (at >= 0)
      return [`chain ${chain.name}: rule ${at + 1}${comment ? ` (${comment})` : ''} is missing or another one`];
    if (found.rules.length === chain.rules.length) return [];
    return [`chain ${chain.name} has ${found.rules.length} rules in place of ${chain.rules.length}`];
  }
}

function policyOf({ hook }: InspectedChain): object {
  return hook ? { policy: hook.policy ?? 'accept' } : {};
}

/** What a rule does, without its handle and what it has counted. */
function rulesText(rule: InspectedChain['rules'][number] | undefined): string {
  return JSON.stringify(rule?.steps, (name, value) => {
    if (name === 'packets' || name === 'bytes') return undefined;
    return typeof value === 'bigint' ? String(value) : value;
  });
}
