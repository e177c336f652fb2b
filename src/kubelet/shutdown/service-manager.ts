import type { Clock, Timer } from '../../async/index.ts';
import { notifyService } from '../../host/service/index.ts';
import type { Logger } from '../../log/index.ts';
import { ConfigurationError } from '../errors.ts';

/** How the service manager (systemd) that started this process is told of it; empty without one. */
export interface ServiceManagerSettings {
  /** As in NOTIFY_SOCKET. */
  socket?: string | undefined;
  /** As in WATCHDOG_USEC: it ends the process that does not tell of itself for so long, microseconds. */
  watchdogUs?: string | undefined;
  /** As in WATCHDOG_PID: whose watchdog it is. */
  watchdogPid?: string | undefined;
}

/** The shortest watchdog that makes sense, milliseconds. */
const shortestMs = 1000;

/** Tells the service manager that the kubelet is ready, and twice in each interval of its watchdog that it is alive. */
export class ServiceManager {
  readonly #socket: string | undefined;
  readonly #everyMs: number;
  readonly #clock: Clock;
  readonly #log: Logger;
  #timer: Timer | undefined;
  #failed = false;

  /** @throws ConfigurationError for a watchdog that is too short to be fed */
  constructor(settings: ServiceManagerSettings, clock: Clock, log: Logger) {
    const { socket, watchdogUs, watchdogPid } = settings;
    this.#socket = socket || undefined;
    this.#clock = clock;
    this.#log = log;
    const ours = !watchdogPid || Number(watchdogPid) === process.pid;
    const watchdogMs = this.#socket && ours ? Number(watchdogUs ?? 0) / 1000 : 0;
    if (Number.isNaN(watchdogMs) || (watchdogMs > 0 && watchdogMs <= shortestMs))
      throw new ConfigurationError(
        'WATCHDOG_USEC',
        `${watchdogUs} must be a number above ${shortestMs * 1000} (WatchdogSec of the unit)`,
      );
    this.#everyMs = watchdogMs / 2;
  }

  start(): void {
    if (this.#everyMs === 0) return;
    this.#log.info('feeds the watchdog of the service manager', { everyMs: this.#everyMs });
    // That this runs at all says that the loop of this process turns; the runtime's health is not what a restart mends.
    const feed = (): void => {
      this.#tell('WATCHDOG=1');
      this.#timer = this.#clock.after(this.#everyMs, feed);
    };
    feed();
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** The kubelet works. */
  ready(): void {
    if (this.#socket) this.#tell('READY=1');
  }

  #tell(text: string): void {
    try {
      notifyService(this.#socket!, text);
      this.#failed = false;
    } catch (error) {
      if (!this.#failed) this.#log.warn('cannot tell the service manager', { socket: this.#socket, text, error });
      this.#failed = true;
    }
  }
}
