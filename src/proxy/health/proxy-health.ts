import type { Clock } from '../../async/index.ts';
import { type FamilyName, families } from './family-name.ts';

/** What health depends on. */
export interface HealthOptions {
  clock: Clock;
  /** How long a change may wait before the proxy counts as ill, milliseconds: two sync periods. */
  toleranceMs: () => number;
  /** Whether the node is there, and not on its way out. */
  nodeEligible: () => boolean;
}

interface FamilyHealth {
  queuedAt?: number;
  updatedAt?: number;
}

/** Go's zero time: never. */
const never = '0001-01-01T00:00:00Z';

/** Whether rules keep up with changes, in each family. A family that has not been written yet is not ill: it starts. */
export class ProxyHealth {
  readonly #options: HealthOptions;
  readonly #families: Record<FamilyName, FamilyHealth> = { IPv4: {}, IPv6: {} };
  #serving = false;

  constructor(options: HealthOptions) {
    this.#options = options;
  }

  /** A change waits. */
  queued(family: FamilyName): void {
    this.#families[family].queuedAt ??= this.#options.clock.now();
  }
  /** Everything that waited is written. */
  updated(family: FamilyName): void {
    this.#families[family] = { updatedAt: this.#options.clock.now() };
  }
  /** All Services that were there at the start are in the kernel. */
  serves(): void {
    this.#serving = true;
  }
  /** Whether a rollout may go on to the next node. */
  get ready(): boolean {
    return this.#serving && this.healthy;
  }
  /** Whether no change waits for too long. */
  get healthy(): boolean {
    return families.every((family) => this.#isHealthy(this.#families[family]));
  }
  /** What /livez answers, and with the node /healthz. */
  report(withNode: boolean): { healthy: boolean; body: Record<string, unknown> } {
    const now = this.#options.clock.now();
    const eligible = this.#options.nodeEligible();
    const started = families.filter((family) => this.#families[family].updatedAt !== undefined);
    const healthy = this.healthy && (!withNode || eligible);
    const last = Math.max(...started.map((family) => this.#families[family].updatedAt!));
    const status = started.map((family) => {
      const state = this.#families[family];
      return [family, { lastUpdated: time(state.updatedAt!), healthy: this.#isHealthy(state) }];
    });
    const body = {
      // As upstream: recent whenever all is well.
      lastUpdated: healthy ? time(now) : started.length > 0 ? time(last) : never,
      currentTime: time(now),
      ...(withNode ? { nodeEligible: eligible } : {}),
      healthy: this.healthy,
      ...(status.length > 0 ? { status: Object.fromEntries(status) } : {}),
    };
    return { healthy, body };
  }

  #isHealthy({ queuedAt, updatedAt }: FamilyHealth): boolean {
    if (queuedAt === undefined || updatedAt === undefined) return true;
    return this.#options.clock.now() - queuedAt < this.#options.toleranceMs();
  }
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}
