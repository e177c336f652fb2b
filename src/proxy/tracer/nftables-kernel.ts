import { fieldsLength, type NftablesInspector } from '../../host/nftables/index.ts';
import { familyFacts } from '../backends/nftables/keys.ts';
import { declareSets, tableName } from '../backends/nftables/layout.ts';
import type { IpFamily } from '../model/types.ts';
import type { TracedTable } from './nftables-machine.ts';

/**
 * The proxy's table as the kernel holds it; undefined when there is none. Chains and rules are read at once, elements
 * one by one as a packet asks for them: the cost does not depend on the number of Services.
 */
export function readTable(inspector: NftablesInspector, family: IpFamily): TracedTable | undefined {
  const facts = familyFacts[family];
  const table = { family: facts.family, name: tableName };
  const chains = inspector.chains(table);
  if (!chains) return undefined;
  const sets = new Map(declareSets(facts).map((set) => [set.name, set]));
  return {
    chains,
    isDynamic: (name) => sets.get(name)?.dynamic ?? false,
    find: (name, registers) => {
      const set = sets.get(name);
      return set && inspector.element(table, name, registers.subarray(0, fieldsLength(set.key)));
    },
  };
}
