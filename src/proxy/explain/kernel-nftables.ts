import { type InspectedChain, NftablesInspector, NftablesSocket, type SetElement } from '../../host/nftables/index.ts';
import type { BackendOptions } from '../backends/backend.ts';
import { familyFacts } from '../backends/nftables/keys.ts';
import { declareSets, tableName } from '../backends/nftables/layout.ts';
import { elementKey, elementValue, renderPlan } from '../backends/nftables/render.ts';
import type { IpFamily } from '../model/types.ts';
import type { ServicePortPlan } from '../plan/types.ts';
import { describeKey } from '../tracer/describe-key.ts';
import { readTable } from '../tracer/nftables-kernel.ts';
import { NftablesMachine } from '../tracer/nftables-machine.ts';
import { renderTable } from '../tracer/nftables-rendered.ts';
import type { TraceableRules } from '../tracer/packet.ts';
import type { KernelView } from './kernel-view.ts';

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
  #elements: Map<string, Map<string, SetElement>> | undefined;

  constructor(family: IpFamily, inspector: NftablesInspector, chains: ReadonlyMap<string, InspectedChain>) {
    this.#family = family;
    this.#inspector = inspector;
    this.#chains = chains;
    this.rules = new NftablesMachine(readTable(inspector, family)!);
  }

  differences(plan: ServicePortPlan, options: BackendOptions): string[] {
    const { elements } = renderPlan(plan, familyFacts[this.#family]);
    const differences = elements.flatMap(({ set, element }) => this.#compareElement(set, element));
    return [...differences, ...this.#compareChains(renderTable([plan], options).chains, (chain) => !chain.hook)];
  }

  baseDifferences(options: BackendOptions): string[] {
    return this.#compareChains(renderTable([], options).chains, () => true);
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

  #compareElement(set: string, wanted: SetElement): string[] {
    const where = `${set} ${describeKey(set, wanted.key, this.#family)}`;
    const found = this.#find(set, wanted);
    if (!found) return [`${where} is missing`];
    return elementValue(found) === elementValue(wanted) ? [] : [`${where} leads elsewhere`];
  }
  #find(set: string, wanted: SetElement): SetElement | undefined {
    if (this.#elements) return this.#elements.get(set)?.get(elementKey(wanted));
    const table = { family: familyFacts[this.#family].family, name: tableName };
    return this.#inspector.element(table, set, wanted.key);
  }

  #compareChains(wanted: ReadonlyMap<string, InspectedChain>, select: (chain: InspectedChain) => boolean): string[] {
    return [...wanted.values()].filter(select).flatMap((chain) => {
      const found = this.#chains.get(chain.name);
      if (!found) return [`chain ${chain.name} is missing`];
      if (JSON.stringify(found.hook ?? {}) !== JSON.stringify({ ...chain.hook, ...policyOf(chain) }))
        return [`chain ${chain.name} is hooked in elsewhere`];
      const same = found.rules.length === chain.rules.length;
      const at = chain.rules.findIndex((rule, index) => rulesText(found.rules[index]) !== rulesText(rule));
      if (same && at < 0) return [];
      if (at < 0) return [`chain ${chain.name} has ${found.rules.length} rules in place of ${chain.rules.length}`];
      const { comment } = chain.rules[at]!;
      return [`chain ${chain.name}: rule ${at + 1}${comment ? ` (${comment})` : ''} is missing or another one`];
    });
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
