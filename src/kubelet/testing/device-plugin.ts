import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { devicePlugin, pluginRegistration } from '../../api/plugins/index.ts';
import { createGrpcClient, type GrpcServer, grpcService, serveGrpc } from '../../wire/grpc/index.ts';

/** A device of the plugin. */
export interface TestDevice {
  ID: string;
  health: 'Healthy' | 'Unhealthy';
  topology?: { nodes: { ID: bigint }[] };
}

/** A small device plugin: it gives what it is told to give, and remembers what it was asked. */
export class TestDevicePlugin implements AsyncDisposable {
  readonly resource: string;
  readonly socket: string;
  /** What it was asked, as `allocate a,b`. */
  readonly calls: string[] = [];
  /** What comes with a device. */
  answer: (ids: string[]) => object = () => ({});
  options = { preStartRequired: false, getPreferredAllocationAvailable: false };
  preferred: (available: string[], size: number) => string[] = () => [];
  allocateError: string | undefined;
  #devices: TestDevice[];
  #server: GrpcServer | undefined;
  #wake: (() => void)[] = [];

  /** @param directory where kubelets look for sockets of device plugins */
  constructor(resource: string, directory: string, devices: TestDevice[]) {
    this.resource = resource;
    this.socket = join(directory, `${resource.replaceAll(/[^a-z0-9]/g, '-')}.sock`);
    this.#devices = devices;
  }

  /** Serves; with a type also the registration by plugins_registry. */
  async serve(registry = false): Promise<this> {
    await rm(this.socket, { force: true });
    const info = { type: 'DevicePlugin', name: this.resource, endpoint: this.socket, supportedVersions: ['v1beta1'] };
    const notifyRegistrationStatus = ({ pluginRegistered, error }: pluginRegistration.RegistrationStatus) => {
      this.calls.push(pluginRegistered ? 'registered' : `refused: ${error}`);
      return {};
    };
    const services = [grpcService(devicePlugin.DevicePlugin, this.#handlers())];
    if (registry) {
      const handlers = { getInfo: () => info, notifyRegistrationStatus };
      services.push(grpcService(pluginRegistration.Registration, handlers));
    }
    this.#server = await serveGrpc(this.socket, services);
    return this;
  }

  /** Registers with a kubelet by its socket. @throws GrpcError with what the kubelet says */
  async register(kubeletSocket: string, version = 'v1beta1', resourceName = this.resource): Promise<void> {
    const client = createGrpcClient(devicePlugin.Registration, `unix://${kubeletSocket}`);
    try {
      const endpoint = this.socket.split('/').at(-1)!;
      await client.register({ version, endpoint, resourceName, options: this.options }, { timeoutMs: 10_000 });
    } finally {
      client.close();
    }
  }

  /** Tells other devices from now on. */
  tell(devices: TestDevice[]): void {
    this.#devices = devices;
    for (const wake of this.#wake.splice(0)) wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.close();
    this.#server = undefined;
    for (const wake of this.#wake.splice(0)) wake();
  }

  #handlers() {
    const plugin = this;
    return {
      getDevicePluginOptions: () => plugin.options,
      async *listAndWatch(_: object, { signal }: { signal: AbortSignal }) {
        while (!signal.aborted) {
          const { promise, resolve } = Promise.withResolvers<void>();
          plugin.#wake.push(resolve);
          signal.addEventListener('abort', () => resolve(), { once: true });
          yield { devices: plugin.#devices };
          await promise;
        }
      },
      allocate: ({ containerRequests }: devicePlugin.AllocateRequest) => {
        const ids = containerRequests[0]!.devicesIds;
        plugin.calls.push(`allocate ${[...ids].sort().join()}`);
        if (plugin.allocateError) throw new Error(plugin.allocateError);
        return { containerResponses: [plugin.answer(ids)] };
      },
      getPreferredAllocation: ({ containerRequests }: devicePlugin.PreferredAllocationRequest) => {
        const { availableDeviceIDs, allocationSize } = containerRequests[0]!;
        plugin.calls.push(`prefer ${allocationSize} of ${[...availableDeviceIDs].sort().join()}`);
        return { containerResponses: [{ deviceIDs: plugin.preferred(availableDeviceIDs, allocationSize) }] };
      },
      preStartContainer: ({ devicesIds }: devicePlugin.PreStartContainerRequest) => {
        plugin.calls.push(`prepare ${[...devicesIds].sort().join()}`);
        return {};
      },
    };
  }
}
