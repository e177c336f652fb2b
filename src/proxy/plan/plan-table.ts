import { sameBalance } from '../model/balance.ts';
import { frontendKey } from './decide.ts';
import type { Destination, Frontend, PlanChange, ServicePortPlan } from './types.ts';

/** A frontend that a Service asked for while another one has it. */
export interface Conflict {
  service: string;
  owner: string;
  frontend: Frontend;
}

/**
 * The plans of all Services, and who owns which frontend. Where two Services ask for the same address, protocol and
 * port, the first one keeps it; the other one gets it when the first lets go.
 */
export class PlanTable {
  readonly #wanted = new Map<string, ServicePortPlan[]>();
  readonly #effective = new Map<string, ServicePortPlan>();
  readonly #owners = new Map<string, string>();
  readonly #waiting = new Map<string, Set<string>>();

  /** All plans, as they are to be rendered. */
  plans(): Iterable<ServicePortPlan> {
    return this.#effective.values();
  }
  /** All plans with their keys. */
  entries(): Iterable<[key: string, plan: ServicePortPlan]> {
    return this.#effective.entries();
  }
  get size(): number {
    return this.#effective.size;
  }
  /** The plans of one Service. */
  of(service: string): ServicePortPlan[] {
    return (this.#wanted.get(service) ?? []).map((plan) => this.#effective.get(planKey(plan)) ?? plan);
  }
  /** The plan and frontend that answer at an address (empty: node port). */
  find(address: string, protocol: string, port: number): { plan: ServicePortPlan; frontend: Frontend } | undefined {
    const plan = this.#effective.get(this.#owners.get(frontendKey({ address, protocol, port })) ?? '');
    const frontend = plan?.frontends.find(
      (one) => one.address === address && one.protocol === protocol && one.port === port,
    );
    return plan && frontend && { plan, frontend };
  }

  /** Replaces the plans of a Service (empty: it is gone). Gives what changes, for it and for those that waited. */
  update(service: string, plans: readonly ServicePortPlan[]): { changes: PlanChange[]; conflicts: Conflict[] } {
    const before = this.#wanted.get(service) ?? [];
    if (plans.length === 0) this.#wanted.delete(service);
    else this.#wanted.set(service, [...plans]);
    const keep = new Set(plans.flatMap((plan) => plan.frontends.map((one) => `${frontendKey(one)} ${planKey(plan)}`)));
    const released = new Set<string>();
    for (const plan of before)
      for (const frontend of plan.frontends)
        if (!keep.has(`${frontendKey(frontend)} ${planKey(plan)}`)) this.#release(frontend, planKey(plan), released);
    const changes: PlanChange[] = [];
    const conflicts: Conflict[] = [];
    const present = new Set(plans.map(planKey));
    for (const plan of before) if (!present.has(planKey(plan))) this.#set(planKey(plan), undefined, changes);
    for (const plan of plans) this.#set(planKey(plan), this.#claim(plan, conflicts), changes);
    for (const other of released) {
      if (present.has(other)) continue;
      const wanted = this.#findWanted(other);
      if (wanted) this.#set(other, this.#claim(wanted, []), changes);
    }
    return { changes: freeFirst(changes), conflicts };
  }

  #findWanted(key: string): ServicePortPlan | undefined {
    const service = key.slice(0, key.lastIndexOf(' ')).replace(/:[^:/]*$/, '');
    return this.#wanted.get(service)?.find((plan) => planKey(plan) === key);
  }
  #set(key: string, plan: ServicePortPlan | undefined, changes: PlanChange[]): void {
    const before = this.#effective.get(key);
    if (plan) this.#effective.set(key, plan);
    else this.#effective.delete(key);
    if (before === plan || (before && plan && samePlan(before, plan))) return;
    changes.push({ key, before, after: plan });
  }
  #claim(plan: ServicePortPlan, conflicts: Conflict[]): ServicePortPlan {
    const own = planKey(plan);
    const frontends = plan.frontends.filter((frontend) => {
      const key = frontendKey(frontend);
      const owner = this.#owners.get(key);
      if (owner !== undefined && owner !== own) {
        this.#waiting.set(key, (this.#waiting.get(key) ?? new Set()).add(own));
        conflicts.push({ service: plan.service, owner, frontend });
        return false;
      }
      this.#owners.set(key, own);
      return true;
    });
    return frontends.length === plan.frontends.length ? plan : { ...plan, frontends };
  }
  #release(frontend: Frontend, own: string, released: Set<string>): void {
    const key = frontendKey(frontend);
    const waiting = this.#waiting.get(key);
    waiting?.delete(own);
    if (waiting?.size === 0) this.#waiting.delete(key);
    if (this.#owners.get(key) !== own) return;
    this.#owners.delete(key);
    for (const other of waiting ?? []) released.add(other);
  }
}

/** The key of a plan: its name and protocol. */
export function planKey(plan: { name: string; protocol: string }): string {
  return `${plan.name} ${plan.protocol}`;
}

/** A change that gives up frontends goes before one that takes them. */
function freeFirst(changes: PlanChange[]): PlanChange[] {
  return [...changes.filter((change) => !change.after), ...changes.filter((change) => change.after)];
}

/** Whether two plans render the same. */
export function samePlan(a: ServicePortPlan, b: ServicePortPlan): boolean {
  return (
    a.affinitySeconds === b.affinitySeconds &&
    sameBalance(a.balance, b.balance) &&
    sameList(a.cluster, b.cluster, sameDestination) &&
    sameList(a.local, b.local, sameDestination) &&
    sameList(a.frontends, b.frontends, sameFrontend)
  );
}

function sameList<T>(a: readonly T[], b: readonly T[], same: (x: T, y: T) => boolean): boolean {
  return a.length === b.length && a.every((one, index) => same(one, b[index]!));
}
function sameDestination(a: Destination, b: Destination): boolean {
  return a.address === b.address && a.port === b.port && a.local === b.local && a.weight === b.weight;
}
function sameFrontend(a: Frontend, b: Frontend): boolean {
  return (
    frontendKey(a) === frontendKey(b) &&
    a.kind === b.kind &&
    a.policy === b.policy &&
    sameList(a.sourceRanges, b.sourceRanges, (x, y) => x === y)
  );
}
