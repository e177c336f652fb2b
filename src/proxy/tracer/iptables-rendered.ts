import { baseRules, jumpRules, nodePortJumps } from '../backends/iptables/base-rules.ts';
import { type RenderOptions, renderPlan } from '../backends/iptables/render.ts';
import type { Rule } from '../backends/iptables/rules.ts';
import type { ServicePortPlan } from '../plan/types.ts';
import type { TracedTables } from './iptables-machine.ts';
import { type ParsedRule, parseRule } from './iptables-rules.ts';

/** The nat and filter tables as the iptables backend writes them for these plans, without a kernel. */
export function renderTables(plans: Iterable<ServicePortPlan>, options: RenderOptions): TracedTables {
  const text = new Map<string, string[]>();
  const add = ({ table, chain, text: rule }: Rule, front = false) => {
    const name = `${table} ${chain}`;
    let rules = text.get(name);
    if (!rules) text.set(name, (rules = []));
    if (front) rules.unshift(rule);
    else rules.push(rule);
  };
  const base = baseRules(options);
  const sets = [base, ...[...plans].map((plan) => renderPlan(plan, options))];
  for (const { chains, rules } of sets) {
    for (const { table, name } of chains) text.set(`${table} ${name}`, []);
    for (const rule of rules) add(rule);
  }
  for (const rule of nodePortJumps(options)) add(rule);
  // Jumps out of the built-in chains are put in front one by one.
  for (const rule of jumpRules(options)) add(rule, true);
  return tablesOf(text, clientsOf(text));
}

/** Tables over rules as text, by `table chain`; each chain is taken apart when it is first needed. */
export function tablesOf(
  text: ReadonlyMap<string, readonly string[]>,
  isRecent: TracedTables['isRecent'],
): TracedTables {
  const parsed = new Map<string, readonly ParsedRule[]>();
  return {
    isRecent,
    chain: (table, name) => {
      const key = `${table} ${name}`;
      const known = parsed.get(key);
      const rules = text.get(key);
      if (known || !rules) return known;
      const fresh = rules.map(parseRule);
      parsed.set(key, fresh);
      return fresh;
    },
  };
}

/** Which lists know the packet's client: those that a rule fills which leads to where the client was. */
function clientsOf(text: ReadonlyMap<string, readonly string[]>): TracedTables['isRecent'] {
  let lists: Map<string, string> | undefined;
  return (list, { packet }) => {
    if (packet.stayedWith === undefined) return false;
    lists ??= new Map(
      [...text.values()].flat().flatMap((rule) => {
        const match = /--set --name (\S+).*--to-destination (\S+)/.exec(rule);
        return match ? [[match[1]!, match[2]!] as const] : [];
      }),
    );
    return lists.get(list) === packet.stayedWith;
  };
}
