import { createHash } from 'node:crypto';
import { NftablesBatch, NftablesSocket, type SetElement, type TableName } from '../../../host/nftables/index.ts';
import type { PlanChange, ServicePortPlan } from '../../plan/types.ts';
import type { AppliedChange, Backend, BackendOptions } from '../backend.ts';
import { affineFrontends, forgetStaleClients } from './affinity.ts';
import { type Delta, elementDelta, SharedElements } from './delta.ts';
import {
  chainName,
  type DispatchChain,
  rememberChain,
  rememberName,
  renderChain,
  requiredChains,
} from './dispatch-chains.ts';
import { type FamilyFacts, familyFacts } from './keys.ts';
import { baseChains, type ChainPlan, declareSets, sets, tableName } from './layout.ts';
import { elementKey, elementValue, type Rendered, renderPlan } from './render.ts';

/** Changes when the rules of the table change in a way that names and comments do not show. */
const layoutVersion = 1;
/** Services in one transaction while a new table is filled: other users of netlink get a turn in between. */
const servicesPerBatch = 1000;

/** The sets whose elements are compared with the plans: all but the clients that rules add. */
const planned = [
  sets.endpoints,
  sets.nodeEndpoints,
  sets.allowed,
  sets.hairpin,
  sets.clusterAddresses,
  sets.sticky,
  sets.nodeSticky,
  sets.refused,
  sets.nodeRefused,
  sets.dispatch,
  sets.nodeDispatch,
];

/** Options of the nftables backend besides those of every backend. */
export interface NftablesBackendOptions extends BackendOptions {
  /** Network namespace: a path or descriptor. Default: the thread's own. */
  namespace?: string | number;
  /** Gives other work a turn while a large table is filled. */
  yield?: () => Promise<void>;
}

/** Services in one nftables table, over netlink. See layout.ts for the table. */
export class NftablesBackend implements Backend {
  readonly mode = 'nftables' as const;
  readonly #options: NftablesBackendOptions;
  readonly #facts: FamilyFacts;
  readonly #table: TableName;
  readonly #socket: NftablesSocket;
  readonly #chains = new Set<string>();
  readonly #shared = new SharedElements();
  readonly #fingerprint: string;
  #generation = -1;

  /** @throws NetlinkError when the kernel has no nf_tables */
  constructor(options: NftablesBackendOptions) {
    this.#options = options;
    this.#facts = familyFacts[options.family];
    this.#table = { family: this.#facts.family, name: tableName };
    this.#socket = new NftablesSocket({ namespace: options.namespace });
    const { pods, masqueradeAll, masqueradeBit, nodePortAddresses, localhostNodePorts, serviceCidrs } = options;
    const text = JSON.stringify([
      layoutVersion,
      pods,
      masqueradeAll,
      masqueradeBit,
      nodePortAddresses,
      localhostNodePorts,
      ...(serviceCidrs?.length ? [serviceCidrs] : []),
    ]);
    this.#fingerprint = `deckhand ${createHash('sha256').update(text).digest('hex').slice(0, 12)}`;
  }

  /** Compares the table with the plans and writes only what differs; a table of another layout is replaced at once. */
  async adopt(plans: readonly ServicePortPlan[]): Promise<AppliedChange> {
    this.#chains.clear();
    this.#shared.clear();
    const found = this.#socket.findTable(this.#table);
    if (!found) return this.#fill(plans);
    if (found.comment !== this.#fingerprint || !this.#hasBaseChains()) return this.#replace(plans);
    return this.#repair(plans);
  }

  /** Writes the changes as one transaction. */
  async apply(changes: readonly PlanChange[]): Promise<AppliedChange> {
    const before = changes.flatMap((change) => (change.before ? [renderPlan(change.before, this.#facts)] : []));
    const after = changes.flatMap((change) => (change.after ? [renderPlan(change.after, this.#facts)] : []));
    const delta = elementDelta(before, after, this.#shared);
    const batch = new NftablesBatch();
    const chains = this.#addChains(batch, after);
    writeDelta(batch, this.#table, delta);
    try {
      this.#commit(batch, 'change services');
    } catch (error) {
      elementDelta(after, before, this.#shared);
      for (const name of chains) this.#chains.delete(name);
      throw error;
    }
    this.#forgetClients(changes);
    return { written: delta.size + chains.length, kept: 0 };
  }

  /** Clients of Services with affinity must not stay with an endpoint that is gone. */
  #forgetClients(changes: readonly PlanChange[]): void {
    const before = affineFrontends(
      changes.flatMap((change) => change.before ?? []),
      this.#facts,
    );
    if (before.size === 0) return;
    const after = affineFrontends(
      changes.flatMap((change) => change.after ?? []),
      this.#facts,
    );
    // Only frontends that lost a destination, or everything, are worth a look at the clients.
    const changed = new Map(
      [...before].flatMap(([frontend, destinations]) => {
        const now = after.get(frontend) ?? new Set<string>();
        return [...destinations].every((one) => now.has(one)) ? [] : [[frontend, now] as const];
      }),
    );
    if (changed.size === 0) return;
    forgetStaleClients(this.#socket, this.#table, changed, this.#facts, false);
    this.#generation = this.#socket.generation();
  }

  /** Whether nobody else changed any table since the last write (a cheap first look). */
  async verify(): Promise<boolean> {
    return this.#socket.generation() === this.#generation;
  }

  async remove(): Promise<void> {
    if (!this.#socket.findTable(this.#table)) return;
    this.#socket.commit(new NftablesBatch().deleteTable(this.#table), 'remove the table');
    this.#chains.clear();
    this.#shared.clear();
  }

  close(): void {
    this.#socket.close();
  }

  #commit(batch: NftablesBatch, subject: string): void {
    this.#socket.commit(batch, subject);
    this.#generation = this.#socket.generation();
  }

  /** Makes the table and fills it in several transactions: there is nothing yet that could be half. */
  async #fill(plans: readonly ServicePortPlan[]): Promise<AppliedChange> {
    let written = 0;
    const structure = new NftablesBatch();
    this.#addStructure(structure);
    this.#commit(structure, 'make the table');
    for (let start = 0; start < plans.length; start += servicesPerBatch) {
      const batch = new NftablesBatch();
      written += this.#addPlans(batch, plans.slice(start, start + servicesPerBatch));
      this.#commit(batch, 'fill the table');
      await this.#options.yield?.();
    }
    return { written, kept: 0 };
  }

  /** Replaces a table of another layout or configuration: readers see the old one or the new one. */
  async #replace(plans: readonly ServicePortPlan[]): Promise<AppliedChange> {
    const batch = new NftablesBatch().deleteTable(this.#table);
    this.#addStructure(batch);
    const written = this.#addPlans(batch, plans);
    this.#commit(batch, 'replace the table');
    return { written, kept: 0 };
  }

  #addStructure(batch: NftablesBatch): void {
    batch.addTable(this.#table, this.#fingerprint);
    for (const set of declareSets(this.#facts)) batch.addSet(this.#table, set);
    for (const chain of baseChains(this.#options)) this.#addChain(batch, chain);
  }
  #addChain(batch: NftablesBatch, chain: ChainPlan): void {
    batch.addChain(this.#table, chain.name, chain.hook);
    for (const { comment, steps } of chain.rules) batch.addRule(this.#table, chain.name, steps, comment || undefined);
  }
  #addPlans(batch: NftablesBatch, plans: readonly ServicePortPlan[]): number {
    const rendered = plans.map((plan) => renderPlan(plan, this.#facts));
    const chains = this.#addChains(batch, rendered);
    const delta = elementDelta([], rendered, this.#shared);
    writeDelta(batch, this.#table, delta);
    return delta.size + chains.length;
  }

  /** Makes the chains that the elements lead to and that are not there yet. Gives their names. */
  #addChains(batch: NftablesBatch, rendered: readonly Rendered[]): string[] {
    const added: string[] = [];
    const add = (chain: DispatchChain) => {
      const name = chainName(chain);
      if (this.#chains.has(name)) return;
      for (const other of requiredChains(chain)) add(other);
      addPlan(renderChain(chain, this.#options));
      if (chain.affinitySeconds > 0 && !this.#chains.has(rememberName(chain.affinitySeconds)))
        addPlan(rememberChain(chain.affinitySeconds, this.#options));
    };
    const addPlan = (plan: ChainPlan) => {
      this.#chains.add(plan.name);
      added.push(plan.name);
      this.#addChain(batch, plan);
    };
    for (const { chains } of rendered) for (const chain of chains) add(chain);
    return added;
  }

  /** Whether sets, chains and rules that do not depend on Services are all there. */
  #hasBaseChains(): boolean {
    const listed = new Set(this.#socket.listSets(this.#table));
    if (declareSets(this.#facts).some((set) => !listed.has(set.name))) return false;
    const rules = this.#rulesByChain();
    return baseChains(this.#options).every((chain) => sameRules(rules.get(chain.name), chain));
  }
  #rulesByChain(): Map<string, string[]> {
    const rules = new Map<string, string[]>();
    for (const { name } of this.#socket.listChains(this.#table)) rules.set(name, []);
    for (const { chain, comment } of this.#socket.listRules(this.#table)) rules.get(chain)?.push(comment);
    return rules;
  }

  /** Brings chains and elements in line with the plans, in one transaction. */
  async #repair(plans: readonly ServicePortPlan[]): Promise<AppliedChange> {
    const rendered = plans.map((plan) => renderPlan(plan, this.#facts));
    const batch = new NftablesBatch();
    const written = this.#repairChains(batch, rendered);
    const wanted = elementDelta([], rendered, this.#shared);
    const delta: Delta = { remove: new Map(), add: new Map(), size: 0 };
    let kept = 0;
    for (const set of planned) {
      const missing = new Map((wanted.add.get(set) ?? []).map((element) => [elementKey(element), element]));
      const surplus: SetElement[] = [];
      for (const element of this.#socket.listElements(this.#table, set)) {
        const expected = missing.get(elementKey(element));
        if (expected && elementValue(expected) === elementValue(element)) {
          missing.delete(elementKey(element));
          kept++;
        } else surplus.push(element);
      }
      if (surplus.length > 0) delta.remove.set(set, surplus);
      if (missing.size > 0) delta.add.set(set, [...missing.values()]);
      delta.size += surplus.length + missing.size;
    }
    writeDelta(batch, this.#table, delta);
    if (batch.size > 0) this.#commit(batch, 'repair the table');
    forgetStaleClients(this.#socket, this.#table, affineFrontends(plans, this.#facts), this.#facts, true);
    this.#generation = this.#socket.generation();
    return { written: written + delta.size, kept };
  }

  #repairChains(batch: NftablesBatch, rendered: readonly Rendered[]): number {
    const rules = this.#rulesByChain();
    const seen = new Set<string>();
    let written = 0;
    const check = (chain: DispatchChain) => {
      if (seen.has(chainName(chain))) return;
      for (const other of requiredChains(chain)) check(other);
      checkPlan(renderChain(chain, this.#options));
      if (chain.affinitySeconds > 0) checkPlan(rememberChain(chain.affinitySeconds, this.#options));
    };
    const checkPlan = (plan: ChainPlan) => {
      if (seen.has(plan.name)) return;
      seen.add(plan.name);
      this.#chains.add(plan.name);
      if (sameRules(rules.get(plan.name), plan)) return;
      if (rules.has(plan.name)) batch.flushChain(this.#table, plan.name);
      this.#addChain(batch, plan);
      written += plan.rules.length;
    };
    for (const { chains } of rendered) for (const chain of chains) check(chain);
    return written;
  }
}

function sameRules(comments: readonly string[] | undefined, chain: ChainPlan): boolean {
  if (comments?.length !== chain.rules.length) return false;
  return chain.rules.every((rule, index) => rule.comment === comments[index]);
}

/** Removals first, the dispatch map last among additions: nothing is sent to slots that are not there yet. */
function writeDelta(batch: NftablesBatch, table: TableName, delta: Delta): void {
  for (const set of [...planned].reverse()) {
    const elements = delta.remove.get(set);
    if (elements) batch.deleteElements(table, set, elements);
  }
  for (const set of planned) {
    const elements = delta.add.get(set);
    if (elements) batch.addElements(table, set, elements);
  }
}
