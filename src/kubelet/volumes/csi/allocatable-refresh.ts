import type { Clock, Timer } from '../../../async/index.ts';
import type { Logger } from '../../../log/index.ts';
import type { CsiDriverObjects } from './csi-context.ts';
import type { DriverRegistry } from './driver-registry.ts';

/** Asks drivers whose CSIDriver says so (nodeAllocatableUpdatePeriodSeconds) again and again how many volumes this node can have. */
export class AllocatableRefresh {
  readonly #drivers: DriverRegistry;
  readonly #objects: CsiDriverObjects;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #timers = new Map<string, { timer: Timer; seconds: number }>();

  constructor(drivers: DriverRegistry, objects: CsiDriverObjects, options: { log: Logger; clock: Clock }) {
    this.#drivers = drivers;
    this.#objects = objects;
    this.#log = options.log;
    this.#clock = options.clock;
  }

  /** The driver has been registered, or its CSIDriver has changed. */
  follow(driver: string): void {
    if (!this.#drivers.has(driver)) return this.#end(driver);
    void this.#objects
      .get(driver)
      .then((object) => this.#schedule(driver, object?.spec.nodeAllocatableUpdatePeriodSeconds))
      .catch((error: unknown) => this.#log.debug('CSIDriver not known', { driver, error }));
  }

  stop(): void {
    for (const driver of this.#timers.keys()) this.#end(driver);
  }

  #schedule(driver: string, seconds: number | undefined): void {
    if (this.#timers.get(driver)?.seconds === seconds) return;
    this.#end(driver);
    if (!seconds) return;
    const timer = this.#clock.after(seconds * 1000, () => void this.#ask(driver, seconds));
    this.#timers.set(driver, { timer, seconds });
  }

  async #ask(driver: string, seconds: number): Promise<void> {
    if (!this.#drivers.has(driver)) return this.#end(driver);
    try {
      await this.#drivers.refresh(driver);
    } catch (error) {
      this.#log.warn('cannot ask a CSI driver how many volumes this node can have', { driver, error });
    }
    this.#timers.delete(driver);
    this.#schedule(driver, seconds);
  }

  #end(driver: string): void {
    this.#timers.get(driver)?.timer.cancel();
    this.#timers.delete(driver);
  }
}
