import type { Clock } from '../../../async/index.ts';
import { findIptables, type Iptables, type IptablesTable } from '../../../host/iptables/index.ts';
import type { Logger } from '../../../log/index.ts';
import type { PlanChange, ServicePortPlan } from '../../plan/types.ts';
import type { AppliedChange, Backend, BackendOptions, ProxyMode } from '../backend.ts';
import { baseRules, jumpRules, nodePortJumps } from './base-rules.ts';
import { type RenderOptions, renderPlan } from './render.ts';
import { chains, chainsOfIpvsToo, isServiceChain, type Rule, type RuleSet, sharedChains } from './rules.ts';

const tables: readonly IptablesTable[] = ['filter', 'nat'];

/** Beyond this many endpoints at start, rules in Services' own chains have no comments, as upstream's. */
const mostCommentedEndpoints = 1000;

/** Finds the host's iptables and makes a backend. @throws IptablesError */
export async function createIptablesBackend(
  options: BackendOptions,
  { clock, log }: { clock: Clock; log: Logger },
): Promise<Backend> {
  const iptables = await findIptables(options.family, clock);
  log.debug('iptables', { variant: iptables.variant, family: options.family });
  return new IptablesBackend(iptables, { ...options, recent: true, comments: true }, log);
}

/** What a table held: rules by chain, in order. */
type SavedTable = Map<string, string[]>;

/** Lines for one table of an iptables-restore input. */
interface TableLines {
  /** `:CHAIN` lines: make, or empty. */
  open: string[];
  /** Rules and removals of single rules. */
  rules: string[];
  /** `-X` lines. */
  close: string[];
}

/**
 * Services in the iptables tables, with upstream's chains. A change writes the chains of the Service in question, and
 * single rules into or out of the chains that all Services share: few lines, whatever the number of Services. What the
 * kernel then does with them is the floor: both variants read and replace whole tables.
 */
export class IptablesBackend implements Backend {
  readonly mode = 'iptables' as const;
  readonly #iptables: Iptables;
  readonly #options: RenderOptions;
  readonly #log: Logger;

  constructor(iptables: Iptables, options: RenderOptions, log: Logger) {
    this.#iptables = iptables;
    this.#options = options;
    this.#log = log;
  }

  async adopt(plans: readonly ServicePortPlan[]): Promise<AppliedChange> {
    if (!(await this.#hasRecent(plans))) this.#log.warn('the kernel has no recent match: no session affinity', {});
    this.#options.comments = plans.reduce((sum, plan) => sum + plan.cluster.length, 0) <= mostCommentedEndpoints;
    const wanted = this.#everything(plans);
    let written = 0;
    let kept = 0;
    let input = '';
    for (const table of tables) {
      const saved = await this.#save(table);
      const lines: TableLines = { open: [], rules: [], close: [] };
      for (const [chain, rules] of wanted.get(table)!) {
        const there = saved.get(chain);
        if (there && this.#isRight(table, chain, there, rules)) kept += rules.length;
        else {
          lines.open.push(`:${chain} - [0:0]`);
          lines.rules.push(...rules.map((text) => `-A ${chain} ${text}`));
          written += rules.length + 1;
        }
      }
      for (const chain of saved.keys())
        if (isServiceChain(chain) && !wanted.get(table)!.has(chain)) {
          lines.open.push(`:${chain} - [0:0]`);
          lines.close.push(`-X ${chain}`);
          written++;
        }
      for (const { chain, text } of jumpRules(this.#options).filter((rule) => rule.table === table))
        if (!saved.get(chain)?.includes(text)) {
          lines.rules.push(`-I ${chain} 1 ${text}`);
          written++;
        }
      input += formatTable(table, lines);
    }
    if (input !== '') await this.#iptables.restore(input);
    return { written, kept };
  }

  async apply(changes: readonly PlanChange[]): Promise<AppliedChange> {
    const before = changes.flatMap((change) => (change.before ? [renderPlan(change.before, this.#options)] : []));
    const after = changes.flatMap((change) => (change.after ? [renderPlan(change.after, this.#options)] : []));
    const { input, written } = changeLines(before, after);
    if (input !== '') await this.#iptables.restore(input);
    return { written, kept: 0 };
  }

  /** Whether the base chains still have their rules, and the jumps into them are there. */
  async verify(): Promise<boolean> {
    const base = collect([baseRules(this.#options)]);
    for (const table of tables) {
      const saved = await this.#save(table);
      for (const [chain, rules] of base.get(table)!) {
        const there = saved.get(chain);
        if (!there) return false;
        if (!sharedChains.has(`${table} ${chain}`) && !sameList(there, rules)) return false;
      }
      const jumps = jumpRules(this.#options).filter((rule) => rule.table === table);
      if (jumps.some(({ chain, text }) => !saved.get(chain)?.includes(text))) return false;
    }
    return true;
  }

  async remove(inUse?: ProxyMode): Promise<void> {
    const own = new Set<string>(Object.values(chains).filter((name) => name !== chains.firewall));
    let input = '';
    for (const table of tables) {
      const saved = await this.#save(table);
      const lines: TableLines = { open: [], rules: [], close: [] };
      const firewall = table === 'filter' && saved.has(chains.firewall) && this.#ownsFirewall(saved);
      const isOwn = (chain: string) =>
        !(inUse === 'ipvs' && chainsOfIpvsToo.has(`${table} ${chain}`)) &&
        (own.has(chain) || isServiceChain(chain) || (firewall && chain === chains.firewall));
      for (const [chain, rules] of saved) {
        if (isOwn(chain)) {
          lines.open.push(`:${chain} - [0:0]`);
          lines.close.push(`-X ${chain}`);
          continue;
        }
        for (const text of rules) {
          const target = / ?-j (\S+)/.exec(` ${text}`)?.[1] ?? '';
          if (isOwn(target)) lines.rules.push(`-D ${chain} ${text}`);
        }
      }
      input += formatTable(table, lines);
    }
    if (input !== '') await this.#iptables.restore(input);
  }

  close(): void {}

  /** In shared chains only the set of rules counts, and that those for node ports stay last. */
  #isRight(table: IptablesTable, chain: string, there: readonly string[], wanted: readonly string[]): boolean {
    if (!sharedChains.has(`${table} ${chain}`)) return sameList(there, wanted);
    if (there.length !== wanted.length) return false;
    const last = table === 'nat' && chain === chains.services ? nodePortJumps(this.#options).length : 0;
    if (last > 0 && !sameList(there.slice(-last), wanted.slice(-last))) return false;
    const known = new Set(there);
    return known.size === wanted.length && wanted.every((text) => known.has(text));
  }

  /** The kubelet has rules of its own in KUBE-FIREWALL: it is only taken away when nothing but ours is in it. */
  #ownsFirewall(saved: SavedTable): boolean {
    const ours = collect([baseRules({ ...this.#options, localhostNodePorts: true })])
      .get('filter')!
      .get(chains.firewall);
    return sameList(saved.get(chains.firewall)!, ours ?? []);
  }

  /** All rules of all plans, by table and chain. */
  #everything(plans: readonly ServicePortPlan[]): Map<IptablesTable, Map<string, string[]>> {
    const sets = plans.map((plan) => renderPlan(plan, this.#options));
    return collect([baseRules(this.#options), ...sets, { rules: nodePortJumps(this.#options), chains: [] }]);
  }

  async #save(table: IptablesTable): Promise<SavedTable> {
    const saved: SavedTable = new Map();
    for (const line of await this.#iptables.save(table)) {
      if (line.startsWith(':')) saved.set(line.slice(1, line.indexOf(' ')), []);
      else if (line.startsWith('-A ')) {
        const space = line.indexOf(' ', 3);
        saved.get(line.slice(3, space < 0 ? undefined : space))?.push(space < 0 ? '' : line.slice(space + 1));
      }
    }
    return saved;
  }

  /** Tries the match once, when a Service needs it. */
  async #hasRecent(plans: readonly ServicePortPlan[]): Promise<boolean> {
    if (!plans.some((plan) => plan.affinitySeconds > 0)) return true;
    const chain = 'KUBE-PROXY-PROBE';
    try {
      await this.#iptables.restore(
        `*nat\n:${chain} - [0:0]\n-A ${chain} -m recent --rcheck --name ${chain} -j RETURN\nCOMMIT\n`,
      );
    } catch {
      this.#options.recent = false;
    }
    await this.#iptables.restore(`*nat\n:${chain} - [0:0]\n-X ${chain}\nCOMMIT\n`);
    return this.#options.recent;
  }
}

/** Rules of several sets, by table and chain. */
function collect(sets: readonly RuleSet[]): Map<IptablesTable, Map<string, string[]>> {
  const all = new Map<IptablesTable, Map<string, string[]>>(tables.map((table) => [table, new Map()]));
  for (const set of sets) for (const { table, name } of set.chains) all.get(table)!.set(name, []);
  for (const set of sets) for (const { table, chain, text } of set.rules) all.get(table)!.get(chain)!.push(text);
  return all;
}

/** The iptables-restore input that turns one rendering into another. Pure. */
export function changeLines(before: readonly RuleSet[], after: readonly RuleSet[]): { input: string; written: number } {
  let input = '';
  let written = 0;
  for (const table of tables) {
    const lines: TableLines = { open: [], rules: [], close: [] };
    const old = ownChains(before, table);
    const now = ownChains(after, table);
    for (const [chain, rules] of now) {
      const there = old.get(chain);
      if (there && sameList(there, rules)) continue;
      lines.open.push(`:${chain} - [0:0]`);
      lines.rules.push(...rules.map((text) => `-A ${chain} ${text}`));
    }
    const [gone, come] = [sharedRules(before, table), sharedRules(after, table)];
    for (const rule of gone) if (!come.has(rule)) lines.rules.push(`-D ${rule}`);
    // In front: the last rule of nat KUBE-SERVICES must stay the one that leads to node ports.
    for (const rule of come) if (!gone.has(rule)) lines.rules.push(`-I ${rule.replace(' ', ' 1 ')}`);
    for (const chain of old.keys())
      if (!now.has(chain)) {
        lines.open.push(`:${chain} - [0:0]`);
        lines.close.push(`-X ${chain}`);
      }
    written += lines.open.length + lines.rules.length + lines.close.length;
    input += formatTable(table, lines);
  }
  return { input, written };
}

function ownChains(sets: readonly RuleSet[], table: IptablesTable): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const set of sets) {
    for (const { table: of, name } of set.chains) if (of === table) found.set(name, []);
    for (const rule of set.rules)
      if (rule.table === table && !sharedChains.has(`${table} ${rule.chain}`)) found.get(rule.chain)!.push(rule.text);
  }
  return found;
}

function sharedRules(sets: readonly RuleSet[], table: IptablesTable): Set<string> {
  const shared = (rule: Rule) => rule.table === table && sharedChains.has(`${table} ${rule.chain}`);
  return new Set(sets.flatMap((set) => set.rules.filter(shared).map(({ chain, text }) => `${chain} ${text}`)));
}

function formatTable(table: IptablesTable, { open, rules, close }: TableLines): string {
  if (open.length + rules.length + close.length === 0) return '';
  return `*${table}\n${[...open, ...rules, ...close].join('\n')}\nCOMMIT\n`;
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text, index) => text === b[index]);
}
