import { Backoff, type Clock } from '../async/index.ts';
import type { Logger } from '../log/index.ts';
import type { Backend } from './backends/backend.ts';
import type { EndpointModel, IpFamily, ServiceModel } from './model/types.ts';
import { planService, type Topology } from './plan/plan-service.ts';
import { type Conflict, PlanTable, planKey, samePlan } from './plan/plan-table.ts';
import type { PlanChange, ServicePortPlan } from './plan/types.ts';

/** What a flush did. */
export interface FlushResult {
  /** Changes that the kernel now holds. */
  applied: PlanChange[];
  written: number;
  /** Changes set aside because the kernel refuses them, with the reason. */
  refused: { change: PlanChange; error: unknown }[];
}

/** What a family's proxy is made of. */
export interface FamilyProxyOptions {
  family: IpFamily;
  backend: Backend;
  clock: Clock;
  log: Logger;
}

/** In how many parts a bad Service is looked for. */
const parts = 16;
const retry = { initialMs: 100, maximumMs: 30_000 };

/**
 * Services in one IP family: the plans, what of them the kernel does not hold yet, and the backend that writes them.
 *
 * A change that the kernel refuses is retried with back-off from 100 ms on, and holds up no other: the rest is written
 * without it.
 */
export class FamilyProxy {
  readonly family: IpFamily;
  readonly plans = new PlanTable();
  #backend: Backend;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #pending = new Map<string, PlanChange>();
  readonly #setAside = new Map<string, number>();
  readonly #backoff: Backoff;
  /** Comparisons that failed, one after another. */
  #failures = 0;

  constructor(options: FamilyProxyOptions) {
    this.family = options.family;
    this.#backend = options.backend;
    this.#clock = options.clock;
    this.#log = options.log.with({ family: `ipv${options.family}` });
    this.#backoff = new Backoff(retry, options.clock);
  }

  get backend(): Backend {
    return this.#backend;
  }
  /** From now on this backend, which holds all plans, writes. Gives the one before. */
  takeOver(backend: Backend): Backend {
    const before = this.#backend;
    this.#backend = backend;
    this.#pending.clear();
    this.#setAside.clear();
    return before;
  }

  /** Plans a Service anew (undefined: it is gone). Nothing is written before flush(). */
  update(
    service: string,
    model: ServiceModel | undefined,
    endpoints: ReadonlyMap<string, readonly EndpointModel[]>,
    topology: Topology,
  ): Conflict[] {
    const plans = model ? planService(model, endpoints, topology) : [];
    const { changes, conflicts } = this.plans.update(service, plans);
    for (const change of changes) this.#note(change);
    return conflicts;
  }

  /** What the kernel is to hold now: the plans, but those that wait to be written as they were before. */
  *heldPlans(): Generator<ServicePortPlan> {
    for (const [key, plan] of this.plans.entries()) if (!this.#pending.has(key)) yield plan;
    for (const { before } of this.#pending.values()) if (before) yield before;
  }

  /** Changes that wait to be written. */
  get pending(): number {
    return this.#pending.size;
  }
  /** Keys of the plans that the kernel refuses. */
  get refused(): string[] {
    return [...this.#setAside.keys()];
  }
  /** Milliseconds until a change that was set aside is to be tried again; undefined when none is. */
  get retryInMs(): number | undefined {
    if (this.#setAside.size === 0) return undefined;
    return Math.max(0, Math.min(...this.#setAside.values()) - this.#clock.monotonic());
  }

  /**
   * Makes the kernel hold all plans, writing only what differs. Of those that it refuses it keeps what was there before, and
   * they wait for their own next try. @throws what the backend throws
   */
  async adopt(): Promise<{ written: number; kept: number }> {
    const refused = new Set(this.#setAside.keys());
    const plans = [...this.#heldWithout(refused)];
    let result: { written: number; kept: number };
    try {
      result = await this.#backend.adopt(plans);
    } catch (error) {
      // The first time it may be something that passes.
      if (this.#failures++ === 0) throw error;
      result = await this.#adoptWithoutBad(plans, error);
      for (const key of this.#setAside.keys()) refused.add(key);
    }
    this.#failures = 0;
    for (const key of [...this.#pending.keys()]) if (!refused.has(key)) this.#pending.delete(key);
    return result;
  }
  /**
   * Finds the part that the kernel refuses, writes the rest, and then that part one by one. Attempts that fail change nothing,
   * so that only this part's rules are away for a moment. @throws the error when there is no such part
   */
  async #adoptWithoutBad(
    plans: readonly ServicePortPlan[],
    error: unknown,
  ): Promise<{ written: number; kept: number }> {
    const size = Math.ceil(plans.length / parts);
    for (let at = 0; at < plans.length; at += size) {
      const result = await this.#backend
        .adopt([...plans.slice(0, at), ...plans.slice(at + size)])
        .catch(() => undefined);
      if (!result) continue;
      for (const plan of plans.slice(at, at + size)) {
        const change: PlanChange = { key: planKey(plan), after: plan };
        try {
          result.written += (await this.#backend.apply([change])).written;
        } catch (reason) {
          this.#log.error('service set aside', { service: change.key, error: reason });
          this.#refused(change);
        }
      }
      return result;
    }
    throw error;
  }
  /** The plans, but of the refused ones what was there before. */
  *#heldWithout(refused: ReadonlySet<string>): Generator<ServicePortPlan> {
    for (const [key, plan] of this.plans.entries()) if (!refused.has(key)) yield plan;
    for (const key of refused) {
      const before = this.#pending.get(key)?.before;
      if (before) yield before;
    }
  }

  /** Writes what waits. Never throws for a change alone. */
  async flush(): Promise<FlushResult> {
    const now = this.#clock.monotonic();
    const due = [...this.#pending.values()].filter((change) => (this.#setAside.get(change.key) ?? 0) <= now);
    if (due.length === 0) return { applied: [], written: 0, refused: [] };
    for (const change of due) this.#pending.delete(change.key);
    try {
      const { written } = await this.#backend.apply(due);
      for (const change of due) this.#done(change);
      return { applied: due, written, refused: [] };
    } catch (error) {
      this.#log.warn('change refused, comparing with the kernel', { error, changes: due.length });
      return this.#recover(due);
    }
  }

  /** First the kernel may not be what was thought: compare everything. If that fails too, find the bad change. */
  async #recover(due: PlanChange[]): Promise<FlushResult> {
    if (this.#setAside.size === 0) {
      try {
        const { written } = await this.adopt();
        return { applied: due, written, refused: [] };
      } catch (error) {
        this.#log.debug('comparison failed, trying changes one by one', { error });
      }
    }
    const result: FlushResult = { applied: [], written: 0, refused: [] };
    for (const change of due) {
      try {
        result.written += (await this.#backend.apply([change])).written;
        this.#done(change);
        result.applied.push(change);
      } catch (error) {
        this.#refused(change);
        result.refused.push({ change, error });
      }
    }
    return result;
  }

  #done(change: PlanChange): void {
    this.#setAside.delete(change.key);
    this.#backoff.reset(change.key);
  }
  /** The kernel still holds what was before: that stays the beginning of whatever is wanted now. */
  #refused(change: PlanChange): void {
    const { after } = this.#pending.get(change.key) ?? change;
    this.#pending.set(change.key, { key: change.key, before: change.before, after });
    this.#setAside.set(change.key, this.#clock.monotonic() + this.#backoff.next(change.key));
  }

  /** Joins a change with one of the same plan that waits: what the kernel holds stays its beginning. */
  #note(change: PlanChange): void {
    const waiting = this.#pending.get(change.key);
    const before = waiting ? waiting.before : change.before;
    const { after } = change;
    if (before === after || (before && after && samePlan(before, after))) this.#pending.delete(change.key);
    else this.#pending.set(change.key, { key: change.key, before, after });
    if (waiting) this.#setAside.delete(change.key);
  }
}
