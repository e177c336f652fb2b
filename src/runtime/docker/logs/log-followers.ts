import type { Clock } from '../../../async/index.ts';
import type { Logger } from '../../../log/index.ts';
import type { ContainerRecord } from '../../store/container-record.ts';
import type { Engine } from '../engine/index.ts';
import { LogFollower } from './log-follower.ts';

/** The writers of the containers' CRI logs, one for each that has one. */
export class LogFollowers {
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #all = new Map<string, LogFollower>();

  constructor(engine: Engine, options: { clock: Clock; log: Logger }) {
    this.#engine = engine;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /** Begins (or goes on) to write a container's log; where it is written already, nothing happens. */
  follow(record: ContainerRecord): void {
    if (!record.logPath || this.#all.has(record.id)) return;
    const { id, logPath, config } = record;
    const follower = new LogFollower(
      { id, path: logPath, terminal: config.tty },
      { engine: this.#engine, clock: this.#clock, log: this.#log },
    );
    this.#all.set(id, follower);
    void follower.run();
  }

  /** Waits until all that an ended container has said is in its log, but not longer than so many milliseconds. */
  async finished(id: string, patienceMs: number): Promise<void> {
    const follower = this.#all.get(id);
    if (!follower) return;
    const end = new AbortController();
    await Promise.race([follower.done, this.#clock.sleep(patienceMs, end.signal).catch(() => {})]);
    end.abort();
  }

  /** Goes on in a new file, after whoever rotates logs has moved the old one away. False: there is no log that is written. */
  async reopen(id: string): Promise<boolean> {
    const follower = this.#all.get(id);
    await follower?.reopen();
    return follower !== undefined;
  }

  /** Ends the writing. */
  async end(id: string): Promise<void> {
    const follower = this.#all.get(id);
    this.#all.delete(id);
    await follower?.stop();
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#all.keys()].map((id) => this.end(id)));
  }
}
