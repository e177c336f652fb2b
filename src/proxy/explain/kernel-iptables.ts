import { readFile } from 'node:fs/promises';
import type { Clock } from '../../async/index.ts';
import { findIptables, type IptablesTable } from '../../host/iptables/index.ts';
import type { BackendOptions } from '../backends/backend.ts';
import { baseRules, jumpRules, nodePortJumps } from '../backends/iptables/base-rules.ts';
import { type RenderOptions, renderPlan } from '../backends/iptables/render.ts';
import type { RuleSet } from '../backends/iptables/rules.ts';
import type { IpFamily } from '../model/types.ts';
import type { ServicePortPlan } from '../plan/types.ts';
import { IptablesMachine } from '../tracer/iptables-machine.ts';
import { tablesOf } from '../tracer/iptables-rendered.ts';
import { parseRule } from '../tracer/iptables-rules.ts';
import type { TraceableRules } from '../tracer/packet.ts';
import type { Comparison, KernelView } from './kernel-view.ts';

/** Chains of one Service or endpoint. */
const serviceChain = /^KUBE-(SVC|SVL|EXT|FW|SEP)-/;
const tables = ['nat', 'filter'] as const satisfies IptablesTable[];

/** The nat and filter tables; undefined when no chain of a proxy is in them. @throws IptablesError */
export async function readIptables(family: IpFamily, { clock }: { clock: Clock }): Promise<KernelView | undefined> {
  const iptables = await findIptables(family, clock);
  const rules = new Map<string, string[]>();
  const policies = new Map<string, string>();
  for (const table of tables)
    for (const line of await iptables.save(table)) {
      const [, chain = '', policy = ''] = /^:(\S+) (\S+)/.exec(line) ?? [];
      if (chain !== '') rules.set(`${table} ${chain}`, []);
      if (policy !== '' && policy !== '-') policies.set(`${table} ${chain}`, policy);
      const rule = /^-A (\S+) ?(.*)$/.exec(line);
      if (rule) rules.get(`${table} ${rule[1]}`)?.push(rule[2]!);
    }
  if (!rules.has('nat KUBE-SERVICES')) return undefined;
  const clients = await readRecentClients(rules);
  return new IptablesView(rules, policies, clients);
}

/** The clients in the lists of the `recent` match, for lists that rules name. */
async function readRecentClients(rules: ReadonlyMap<string, readonly string[]>): Promise<Map<string, Set<string>>> {
  const clients = new Map<string, Set<string>>();
  const names = [...rules.values()].flat().flatMap((rule) => /--rcheck .*--name (\S+)/.exec(rule)?.[1] ?? []);
  for (const name of new Set(names)) {
    const text = await readFile(`/proc/net/xt_recent/${name}`, 'utf8').catch(() => '');
    clients.set(name, new Set([...text.matchAll(/^src=(\S+)/gm)].map((match) => match[1]!)));
  }
  return clients;
}

class IptablesView implements KernelView {
  readonly mode = 'iptables' as const;
  readonly rules: TraceableRules;
  readonly #rules: ReadonlyMap<string, readonly string[]>;
  readonly #known = new Map<string, Set<string>>();

  constructor(
    rules: ReadonlyMap<string, readonly string[]>,
    policies: ReadonlyMap<string, string>,
    clients: ReadonlyMap<string, ReadonlySet<string>>,
  ) {
    this.#rules = rules;
    const isRecent = (list: string, { packet }: { packet: { source: string } }) =>
      clients.get(list)?.has(packet.source) ?? false;
    this.rules = new IptablesMachine({ ...tablesOf(rules, isRecent), policies });
  }

  compare(plan: ServicePortPlan, options: BackendOptions): Comparison {
    return this.#compare(renderPlan(plan, this.#renderOptions(options)));
  }
  compareBase(options: BackendOptions): Comparison {
    const base = baseRules(options);
    return this.#compare({
      chains: base.chains,
      rules: [...base.rules, ...nodePortJumps(options), ...jumpRules(options)],
    });
  }
  surplus(plans: readonly ServicePortPlan[], options: BackendOptions): string[] {
    const render = this.#renderOptions(options);
    const wanted = new Set(
      plans.flatMap((plan) => renderPlan(plan, render).chains.map(({ table, name }) => `${table} ${name}`)),
    );
    return [...this.#rules.keys()]
      .filter((key) => serviceChain.test(key.split(' ')[1]!) && !wanted.has(key))
      .map((key) => `chain ${key} belongs to no Service`);
  }
  preload(): void {}
  close(): void {}

  /** What a proxy decides by looking at the kernel, taken from what it decided. */
  #renderOptions(options: BackendOptions): RenderOptions {
    const all = [...this.#rules.values()].flat();
    return { ...options, comments: true, recent: all.some((rule) => rule.includes('-m recent ')) };
  }

  #compare({ chains, rules }: RuleSet): Comparison {
    const found: Comparison = { parts: chains.length + rules.length, missing: 0, differences: [] };
    const miss = (what: string) => {
      found.missing++;
      found.differences.push(what);
    };
    for (const { table, name } of chains)
      if (!this.#rules.has(`${table} ${name}`)) miss(`${table} chain ${name} is missing`);
    for (const { table, chain, text } of rules)
      if (!this.#rules.has(`${table} ${chain}`)) found.missing++;
      else if (!this.#inChain(`${table} ${chain}`).has(meaning(text))) miss(`${table} ${chain}: ${text} is missing`);
    for (const { table, name } of chains) {
      const wanted = rules.filter((rule) => rule.table === table && rule.chain === name).length;
      const there = this.#rules.get(`${table} ${name}`)?.length ?? 0;
      // Chains of one Service alone hold nothing else.
      if (serviceChain.test(name) && there > wanted)
        found.differences.push(`${table} chain ${name} has ${there} rules in place of ${wanted}`);
    }
    return found;
  }
  #inChain(key: string): Set<string> {
    let known = this.#known.get(key);
    if (!known) this.#known.set(key, (known = new Set(this.#rules.get(key)!.map(meaning))));
    return known;
  }
}

/** A rule's text without comments, in an order that does not depend on the program that wrote it. */
function meaning(text: string): string {
  const { tests, target, goto, targetOptions } = parseRule(text);
  const parts = tests.map(({ name, invert, value }) => `${invert ? '! ' : ''}${name} ${value}`).sort();
  return [...parts, goto ? 'goto' : 'jump', target, ...[...targetOptions].map((pair) => pair.join(' ')).sort()].join(
    '\n',
  );
}
