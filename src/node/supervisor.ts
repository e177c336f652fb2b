import { Backoff, type Clock } from '../async/index.ts';
import type { Logger } from '../log/index.ts';
import type { ComponentName, Place } from './component-module.ts';
import type { ComponentRecord } from './instance.ts';
import { launch, type Running } from './launch.ts';

/** One component as the supervisor keeps it. */
interface Kept {
  record: ComponentRecord;
  argv: readonly string[];
  running: Running;
  stopping: boolean;
  /** Whether it has ever served: one that never did is a failed start, not a crash. */
  served: boolean;
}

/** What the supervisor needs to know. */
export interface SupervisorOptions {
  log: Logger;
  clock: Clock;
  place: (name: ComponentName) => Place;
  /** Lines that components write. */
  onOutput: (name: ComponentName, line: string) => void;
  /** Called after every change of a component. */
  onChange: (components: ComponentRecord[]) => void;
}

/**
 * Keeps components running. One that ends is started again, at once the first time, then with a back-off from 100 ms
 * to 10 s; it adopts what it finds. States of a component:
 *
 *   starting ──ready──► running ──ended──► restarting ──started──► starting
 *       └───────────────── stop() ──────────────┴──► stopped
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #backoff: Backoff;
  readonly #kept = new Map<ComponentName, Kept>();

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#backoff = new Backoff({ initialMs: 100, maximumMs: 10_000, resetAfterMs: 30_000 }, options.clock);
  }

  /** Starts a component; resolves when it serves. @throws Error when it ends before that for the first time */
  async start(name: ComponentName, argv: readonly string[]): Promise<void> {
    const place = this.#options.place(name);
    const kept: Kept = {
      record: { name, place, pid: process.pid, restarts: 0, state: 'starting' },
      argv,
      running: this.#launch(name, argv, place),
      stopping: false,
      served: false,
    };
    this.#kept.set(name, kept);
    this.#watch(name, kept);
    await kept.running.ready;
  }

  /** Ends a component; without `remove`, what it made on the host stays. */
  async stop(name: ComponentName, options: { remove?: boolean } = {}): Promise<void> {
    const kept = this.#kept.get(name);
    if (!kept || kept.stopping) return;
    kept.stopping = true;
    await kept.running.stop(options);
    kept.record.state = 'stopped';
    this.#changed();
  }

  /** The components as they are now. */
  get components(): ComponentRecord[] {
    return [...this.#kept.values()].map(({ record }) => ({ ...record }));
  }

  #launch(name: ComponentName, argv: readonly string[], place: Place): Running {
    const { log, clock, onOutput } = this.#options;
    return launch(name, argv, place, {
      log: log.with({ component: name }),
      clock,
      onOutput: (line) => onOutput(name, line),
    });
  }

  #watch(name: ComponentName, kept: Kept): void {
    const { running } = kept;
    kept.record.pid = running.pid;
    this.#changed();
    running.ready.then(
      () => {
        kept.served = true;
        if (kept.stopping || kept.running !== running) return;
        kept.record.state = 'running';
        this.#changed();
      },
      () => {},
    );
    void running.ended.then((why) => this.#onEnd(name, kept, why));
  }

  #onEnd(name: ComponentName, kept: Kept, why: string): void {
    if (kept.stopping || !kept.served) return;
    const first = this.#backoff.current(name) === 0;
    const delayMs = this.#backoff.next(name);
    kept.record.state = 'restarting';
    kept.record.restarts++;
    this.#changed();
    this.#options.log.warn('component ended, starting it again', {
      component: name,
      why,
      delayMs: first ? 0 : delayMs,
    });
    this.#options.clock.after(first ? 0 : delayMs, () => {
      if (kept.stopping) return;
      kept.record.state = 'starting';
      kept.running = this.#launch(name, kept.argv, kept.record.place);
      this.#watch(name, kept);
    });
  }

  #changed(): void {
    this.#options.onChange(this.components);
  }
}
