import type { PluginHandler, RegisteredPlugin } from '../../plugins/index.ts';
import type { CsiNodeInfo } from './csi-node-info.ts';
import { DriverClient, type DriverClientOptions } from './driver-client.ts';
import { csiText } from './errors.ts';

/** A driver and where it is. */
interface Driver {
  client: DriverClient;
  version: readonly [number, number, number];
  endpoint: string;
}

/** The CSI drivers of this node: takes their registrations, and gives who calls them a client. */
export class DriverRegistry implements PluginHandler {
  readonly #drivers = new Map<string, Driver>();
  readonly #nodeInfo: CsiNodeInfo;
  readonly #options: DriverClientOptions;

  constructor(nodeInfo: CsiNodeInfo, options: DriverClientOptions) {
    this.#nodeInfo = nodeInfo;
    this.#options = options;
  }

  /** The client of a registered driver. @throws Error in upstream's words when there is none of that name */
  client(name: string): DriverClient {
    const driver = this.#drivers.get(name);
    if (!driver) throw new Error(`driver name ${name} not found in the list of registered CSI drivers`);
    return driver.client;
  }

  has(name: string): boolean {
    return this.#drivers.has(name);
  }

  validate({ name, endpoint, versions }: RegisteredPlugin): void {
    try {
      this.#checkVersions('ValidatePlugin', name, versions);
    } catch (cause) {
      throw new Error(`validation failed for CSI Driver ${name} at endpoint ${endpoint}: ${(cause as Error).message}`, {
        cause,
      });
    }
  }

  async register({ name, endpoint, versions }: RegisteredPlugin, signal: AbortSignal): Promise<void> {
    const version = this.#checkVersions('RegisterPlugin', name, versions);
    const client = new DriverClient(name, endpoint, this.#options);
    this.#drivers.get(name)?.client.close();
    this.#drivers.set(name, { client, version, endpoint });
    try {
      await this.#nodeInfo.install(name, await client.info(signal), signal);
    } catch (error) {
      this.#drivers.delete(name);
      client.close();
      throw error;
    }
  }

  async deregister({ name, endpoint }: RegisteredPlugin): Promise<void> {
    const driver = this.#drivers.get(name);
    // A newer one of the same name may have taken its place.
    if (driver?.endpoint !== endpoint) return;
    this.#drivers.delete(name);
    driver.client.close();
    this.#nodeInfo.uninstall(name);
  }

  /** Asks a driver again what this node can have, and says so in the CSINode. */
  async refresh(name: string): Promise<void> {
    await this.#nodeInfo.install(name, await this.client(name).info());
  }

  close(): void {
    for (const { client } of this.#drivers.values()) client.close();
    this.#drivers.clear();
  }

  #checkVersions(caller: string, name: string, versions: readonly string[]): Driver['version'] {
    const what = `${caller} for CSI driver "${name}" failed.`;
    if (versions.length === 0) throw new Error(csiText(`${what} Plugin returned an empty list for supported versions`));
    const version = highestVersion(versions);
    if (!version) {
      const named = versions.map((one) => JSON.stringify(one)).join(' ');
      throw new Error(csiText(`${what} None of the versions specified [${named}] are supported.`));
    }
    const known = this.#drivers.get(name);
    if (known && compareVersions(known.version, version) >= 0) {
      const text = `Another driver with the same name is already registered with a higher supported version: "${known.version.join('.')}"`;
      throw new Error(csiText(`${what} ${text}`));
    }
    return version;
  }
}

/** The highest version that this kubelet speaks (1.x) among some; undefined when there is none. */
export function highestVersion(versions: readonly string[]): Driver['version'] | undefined {
  return versions
    .map((text) => /^v?(\d+)\.(\d+)(?:\.(\d+))?/.exec(text))
    .filter((match) => match?.[1] === '1')
    .map((match): Driver['version'] => [1, Number(match![2]), Number(match![3] ?? 0)])
    .sort(compareVersions)
    .at(-1);
}

function compareVersions(a: Driver['version'], b: Driver['version']): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}
