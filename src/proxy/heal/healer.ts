import type { Clock, Timer } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import type { ForeignChange, Repairs } from '../backends/backend.ts';
import type { FamilyProxy } from '../family-proxy.ts';

/** What a {@link Healer} works with. */
export interface HealerOptions {
  families: readonly FamilyProxy[];
  clock: Clock;
  log: Logger;
  /** Runs the work while nothing else writes rules. */
  exclusive<T>(work: () => Promise<T>): Promise<T>;
  /** Told of what was put right. */
  onRepaired(family: FamilyProxy, repairs: Repairs): void;
}

/** From the first notice to the look, milliseconds: one program's changes are one look. */
const debounceMs = 20;
/** Longest pause between looks while somebody goes on changing our rules, milliseconds. */
const longestPauseMs = 10_000;
/** Without repairs for so long, the next notice is followed at once again, milliseconds. */
const quietMs = 30_000;
/** Repairs one after another that are followed at once: a script of single commands is not a fight. */
const patientRepairs = 8;

interface Watched {
  timer?: Timer;
  running?: Promise<void>;
  again: boolean;
  thorough: boolean;
  notice: ForeignChange;
  repairs: number;
  repairedAt: number;
}

/**
 * Keeps the kernel as it was written. Backends tell of changes that others made (see {@link Backend.watch}); what differs
 * from the plans is looked for in the background, and only that is written again. Two programs that want different rules
 * would do so for ever: after some repairs in a row the pauses grow.
 */
export class Healer {
  readonly #options: HealerOptions;
  readonly #watched = new Map<FamilyProxy, Watched>();
  #stopped = false;

  constructor(options: HealerOptions) {
    this.#options = options;
  }

  /** Begins to listen to the family's backend: after it was adopted, and again for another backend. */
  watch(family: FamilyProxy): void {
    const { backend } = family;
    backend.watch?.((change) => {
      if (family.backend === backend) this.#noticed(family, change);
    });
  }

  /** A look from time to time: whether notices were missed, and for backends that give none. */
  async check(): Promise<void> {
    for (const family of this.#options.families) {
      try {
        if (!this.#stopped && !(await family.backend.verify())) this.look(family, true);
      } catch (error) {
        this.#options.log.warn('cannot look at the rules', { family: family.family, error });
      }
    }
  }

  /** Compares the family's rules with the plans as soon as may be; `thorough`: all of them. */
  look(family: FamilyProxy, thorough: boolean): void {
    const state = this.#of(family);
    state.thorough ||= thorough;
    this.#schedule(family, 0);
  }

  /** Resolves when no look goes on or is due. */
  async settled(): Promise<void> {
    for (;;) {
      const busy = [...this.#watched.values()].find((state) => state.running);
      if (!busy) return;
      await busy.running;
    }
  }
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const state of this.#watched.values()) state.timer?.cancel();
    await this.settled();
  }

  #of(family: FamilyProxy): Watched {
    let state = this.#watched.get(family);
    if (!state) {
      state = { again: false, thorough: false, notice: {}, repairs: 0, repairedAt: Number.NEGATIVE_INFINITY };
      this.#watched.set(family, state);
    }
    return state;
  }

  #noticed(family: FamilyProxy, change: ForeignChange): void {
    const state = this.#of(family);
    state.notice = { ...state.notice, ...change };
    if (change.lost) state.thorough = true;
    if (this.#options.clock.monotonic() - state.repairedAt > quietMs) state.repairs = 0;
    const more = state.repairs - patientRepairs;
    this.#schedule(family, more <= 0 ? debounceMs : Math.min(longestPauseMs, 100 * 2 ** Math.min(more, 10)));
  }

  #schedule(family: FamilyProxy, ms: number): void {
    const state = this.#of(family);
    if (this.#stopped) return;
    if (state.running) state.again = true;
    else
      state.timer ??= this.#options.clock.after(ms, () => {
        state.timer = undefined;
        if (this.#stopped) return;
        state.running = this.#look(family, state).finally(() => {
          state.running = undefined;
          if (!state.again) return;
          state.again = false;
          this.#schedule(family, debounceMs);
        });
      });
  }

  async #look(family: FamilyProxy, state: Watched): Promise<void> {
    const { log, clock, exclusive, onRepaired } = this.#options;
    const { notice, thorough } = state;
    state.notice = {};
    state.thorough = false;
    const begin = clock.monotonic();
    try {
      const { backend } = family;
      const found = backend.inspect
        ? await backend.inspect(() => family.heldPlans(), thorough)
        : { what: 'something', repair: async () => new Map([['', (await family.adopt()).written]]) };
      if (!found || this.#stopped) return;
      const repairs = await exclusive(async () => (family.backend === backend ? found.repair() : new Map()));
      const written = [...repairs.values()].reduce((sum, count) => sum + count, 0);
      if (written === 0) return;
      state.repairs++;
      state.repairedAt = clock.monotonic();
      onRepaired(family, repairs);
      log.warn('rules that others had changed were put right', {
        family: `ipv${family.family}`,
        what: found.what,
        ...(notice.program ? { program: notice.program, processId: notice.processId } : {}),
        repaired: Object.fromEntries(repairs),
        ms: Math.round(clock.monotonic() - begin),
      });
    } catch (error) {
      log.error('rules that others changed are not put right', { family: `ipv${family.family}`, error });
      state.repairs++;
      state.repairedAt = clock.monotonic();
      this.#noticed(family, { lost: true });
    }
  }
}
