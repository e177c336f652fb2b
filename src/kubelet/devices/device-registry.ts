import type { Clock } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import type { Device } from './choose-devices.ts';
import { PluginConnection } from './plugin-connection.ts';

/** What the registry needs. */
export interface DeviceRegistryOptions {
  clock: Clock;
  log: Logger;
  /** Told when the devices of a resource have changed, with those whose health has. */
  onChange(resource: string, changed: readonly string[]): void;
}

/** How long devices of a plugin that has gone are counted as (unhealthy) devices of the node, milliseconds. */
const keptMs = 300_000;

interface Known {
  connection?: PluginConnection | undefined;
  devices: Map<string, Device>;
  /** When the plugin went, on the monotonic clock. */
  goneAt?: number | undefined;
}

/** The devices of this node, by resource, as their plugins tell. */
export class DeviceRegistry {
  readonly #options: DeviceRegistryOptions;
  readonly #resources = new Map<string, Known>();
  /** Resources that were given up: the node says that it has none of them. */
  readonly #dropped = new Set<string>();

  constructor(options: DeviceRegistryOptions) {
    this.#options = options;
  }

  /** A resource is known from an earlier life: its plugin will come again, or not. */
  expect(resource: string): void {
    if (!this.#resources.has(resource))
      this.#resources.set(resource, { devices: new Map(), goneAt: this.#options.clock.monotonic() });
  }

  /** A plugin has registered (again). @throws GrpcError when it does not answer */
  async connect(resource: string, endpoint: string): Promise<void> {
    const { log, clock } = this.#options;
    const connection = await PluginConnection.open(resource, endpoint);
    const known: Known = this.#resources.get(resource) ?? { devices: new Map() };
    known.connection?.close();
    known.connection = connection;
    known.goneAt = undefined;
    this.#resources.set(resource, known);
    this.#dropped.delete(resource);
    log.info('device plugin registered', { resource, endpoint });
    const isCurrent = () => known.connection === connection;
    void connection.follow(
      {
        onDevices: (devices) => {
          if (isCurrent()) this.#replace(resource, known, devices);
        },
        onEnd: () => {
          if (!isCurrent()) return;
          known.connection = undefined;
          known.goneAt = clock.monotonic();
          connection.close();
          this.#replace(
            resource,
            known,
            [...known.devices.values()].map((device) => ({ ...device, healthy: false })),
          );
          clock.after(keptMs, () => this.#giveUp(resource, known));
        },
      },
      log,
    );
  }

  /** The plugin's registration was withdrawn. */
  disconnect(resource: string): void {
    const known = this.#resources.get(resource);
    if (!known?.connection) return;
    known.connection.close();
    known.connection = undefined;
    known.goneAt = this.#options.clock.monotonic();
    this.#replace(
      resource,
      known,
      [...known.devices.values()].map((device) => ({ ...device, healthy: false })),
    );
    this.#options.clock.after(keptMs, () => this.#giveUp(resource, known));
  }

  has(resource: string): boolean {
    return this.#resources.has(resource);
  }

  connection(resource: string): PluginConnection | undefined {
    return this.#resources.get(resource)?.connection;
  }

  /** The devices of a resource, by id. */
  devices(resource: string): ReadonlyMap<string, Device> {
    return this.#resources.get(resource)?.devices ?? new Map();
  }

  resources(): string[] {
    return [...this.#resources.keys()];
  }

  /** How many devices the node has and can give, by resource. What was given up counts none. */
  counts(): Map<string, { capacity: number; allocatable: number }> {
    const counts = new Map([...this.#dropped].map((name) => [name, { capacity: 0, allocatable: 0 }]));
    for (const [resource, known] of this.#resources) {
      if (this.#isStale(known)) this.#giveUp(resource, known);
      const healthy = [...known.devices.values()].filter((device) => device.healthy).length;
      const stale = this.#isStale(known);
      counts.set(resource, { capacity: stale ? 0 : known.devices.size, allocatable: stale ? 0 : healthy });
    }
    return counts;
  }

  close(): void {
    for (const { connection } of this.#resources.values()) connection?.close();
  }

  #isStale({ goneAt }: Known): boolean {
    return goneAt !== undefined && this.#options.clock.monotonic() - goneAt >= keptMs;
  }

  #giveUp(resource: string, known: Known): void {
    if (this.#resources.get(resource) !== known || !this.#isStale(known)) return;
    this.#resources.delete(resource);
    this.#dropped.add(resource);
    this.#options.log.info('devices of a plugin that has gone are given up', { resource });
    this.#options.onChange(resource, []);
  }

  #replace(resource: string, known: Known, devices: readonly Device[]): void {
    const before = known.devices;
    known.devices = new Map(devices.map((device) => [device.id, device]));
    const changed = devices.filter(({ id, healthy }) => before.get(id)?.healthy !== healthy).map(({ id }) => id);
    this.#options.onChange(resource, changed);
  }
}
