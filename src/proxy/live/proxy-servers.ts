import type { Clock } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import type { ProxySettings } from '../configuration.ts';
import { createHealthServer } from '../health/health-server.ts';
import type { ProxyHealth } from '../health/proxy-health.ts';
import { createStatusServer, type StatusOptions } from '../health/status-server.ts';
import { KeptServer } from './kept-server.ts';

/** What the servers tell, and whom they tell what is in their way. */
export interface ProxyServersOptions extends StatusOptions {
  health: ProxyHealth;
  log: Logger;
  clock: Clock;
  /** Reason and message of an event. */
  onFailure: (reason: string, message: string) => void;
}

/** The health server and the status server, on addresses that may change. */
export class ProxyServers {
  readonly #health: KeptServer;
  readonly #status: KeptServer;

  constructor(options: ProxyServersOptions) {
    const { health, metrics, onFailure, log, clock } = options;
    const failed = (reason: string) => (address: string, error: unknown) =>
      onFailure(reason, `${address}: ${(error as Error).message}`);
    this.#health = new KeptServer({
      ...{ what: 'health', log, clock, make: () => createHealthServer(health, metrics) },
      onFailure: failed('FailedToStartProxierHealthcheck'),
    });
    this.#status = new KeptServer({
      ...{ what: 'metrics', log, clock, make: () => createStatusServer(options) },
      onFailure: failed('FailedToStartMetricServer'),
    });
  }

  /** Listens for the first time. @throws ProxyError PORT_TAKEN, when the settings want that to be the end */
  async open({ healthzBindAddress, metricsBindAddress, bindAddressHardFail }: ProxySettings): Promise<void> {
    await this.#health.move(healthzBindAddress, { hardFail: bindAddressHardFail });
    await this.#status.move(metricsBindAddress, { hardFail: bindAddressHardFail });
  }
  /** Listens where the settings say now. What is taken is tried again, as often as it needs. */
  async move({ healthzBindAddress, metricsBindAddress }: ProxySettings): Promise<void> {
    await this.#health.move(healthzBindAddress);
    await this.#status.move(metricsBindAddress);
  }
  async close(): Promise<void> {
    await this.#health.close();
    await this.#status.close();
  }
}
