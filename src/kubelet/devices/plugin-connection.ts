import { devicePlugin } from '../../api/plugins/index.ts';
import type { Logger } from '../../log/index.ts';
import { createGrpcClient, type GrpcClient } from '../../wire/grpc/index.ts';
import type { Device } from './choose-devices.ts';

/** What a connection tells. */
export interface ConnectionEvents {
  /** The plugin has told all its devices. */
  onDevices(devices: Device[]): void;
  /** The plugin has gone. */
  onEnd(): void;
}

/** Longest for a plugin to make devices ready before a container is made, milliseconds. */
const preStartTimeoutMs = 30_000;
const callTimeoutMs = 10_000;
/** Longest for a plugin to give devices, milliseconds: while it does, no other pod is let in. */
const allocateTimeoutMs = 30_000;

/** A device plugin that has registered: its calls, and what it tells of its devices. */
export class PluginConnection {
  readonly resource: string;
  readonly #client: GrpcClient<typeof devicePlugin.DevicePlugin>;
  readonly #options: { preStartRequired: boolean; getPreferredAllocationAvailable: boolean };
  readonly #end = new AbortController();

  private constructor(
    resource: string,
    client: GrpcClient<typeof devicePlugin.DevicePlugin>,
    options: { preStartRequired: boolean; getPreferredAllocationAvailable: boolean },
  ) {
    this.resource = resource;
    this.#client = client;
    this.#options = options;
  }

  /** Connects, and asks the plugin what it can do. @throws GrpcError when it does not answer */
  static async open(resource: string, endpoint: string): Promise<PluginConnection> {
    const client = createGrpcClient(devicePlugin.DevicePlugin, `unix://${endpoint}`);
    try {
      return new PluginConnection(
        resource,
        client,
        await client.getDevicePluginOptions({}, { timeoutMs: callTimeoutMs }),
      );
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /** Follows what the plugin tells, until it ends or is closed. */
  async follow({ onDevices, onEnd }: ConnectionEvents, log: Logger): Promise<void> {
    try {
      for await (const { devices } of this.#client.listAndWatch({}, { signal: this.#end.signal }))
        onDevices(
          devices.map(({ ID, health, topology }) => {
            const nodes = (topology?.nodes ?? []).map((node) => Number(node.ID)).sort((a, b) => a - b);
            return { id: ID, healthy: health === 'Healthy', nodes };
          }),
        );
    } catch (error) {
      if (!this.#end.signal.aborted) log.info('device plugin gone', { resource: this.resource, error });
    }
    if (!this.#end.signal.aborted) onEnd();
  }

  close(): void {
    this.#end.abort(new Error('device plugin replaced'));
    this.#client.close();
  }

  /** Gives devices to a container. */
  async allocate(devicesIds: string[]): Promise<devicePlugin.ContainerAllocateResponse> {
    const { containerResponses } = await this.#client.allocate(
      { containerRequests: [{ devicesIds }] },
      { timeoutMs: allocateTimeoutMs },
    );
    const [answer] = containerResponses;
    if (!answer) throw new Error(`no containers return in allocation response of ${this.resource}`);
    return answer;
  }

  /** Which devices the plugin would choose; none when it has no opinion. */
  async preferred(available: string[], must: string[], allocationSize: number): Promise<readonly string[]> {
    if (!this.#options.getPreferredAllocationAvailable) return [];
    const request = { availableDeviceIDs: available, mustIncludeDeviceIDs: must, allocationSize };
    const { containerResponses } = await this.#client.getPreferredAllocation(
      { containerRequests: [request] },
      { timeoutMs: callTimeoutMs },
    );
    return containerResponses[0]?.deviceIDs ?? [];
  }

  /** Has devices made ready for a container that is about to be made, if the plugin wants to be asked. */
  async preStart(devicesIds: string[]): Promise<void> {
    if (!this.#options.preStartRequired) return;
    await this.#client.preStartContainer({ devicesIds }, { timeoutMs: preStartTimeoutMs });
  }
}
