import type { MessageInitShape } from '@bufbuild/protobuf';
import type {
  Node,
  NodeGetInfoResponse,
  NodeGetVolumeStatsResponse,
  NodeServiceCapability_RPC_Type,
  VolumeCapabilitySchema,
} from '../../../api/csi/index.ts';
import type { Clock } from '../../../async/index.ts';
import { createGrpcClient, type GrpcClient, GrpcError } from '../../../wire/grpc/index.ts';
import { CsiCallError } from './errors.ts';

/** How a volume is to be used, in the words of Kubernetes. */
export interface VolumeUse {
  /** The first of the persistent volume's access modes. */
  accessMode: string;
  block?: boolean;
  fsType?: string;
  mountFlags?: readonly string[];
  /** Group that the driver itself is to give the volume to. */
  mountGroup?: number | undefined;
}

/** What a driver's node service may be able to do. */
export type NodeAbility = keyof typeof NodeServiceCapability_RPC_Type;

/** Longest for one call, milliseconds. */
export const csiTimeoutMs = 120_000;

/** How calls are made. */
export interface DriverClientOptions {
  clock: Clock;
  /** Longest for one call, milliseconds. Default {@link csiTimeoutMs}. */
  timeoutMs?: number | undefined;
  /** Told of each call that has ended; `code` is `OK` or `Internal` and the like. */
  onCall?: ((call: { driver: string; method: string; code: string; seconds: number }) => void) | undefined;
}

type Messages = typeof import('../../../api/csi/index.ts');

/** The node service of one registered driver. Every call has its own limit of time; one that hangs holds up no other. */
export class DriverClient {
  readonly name: string;
  readonly endpoint: string;
  readonly #options: DriverClientOptions;
  #connection: Promise<{ client: GrpcClient<typeof Node>; messages: Messages }> | undefined;
  #abilities: Promise<ReadonlySet<number>> | undefined;

  constructor(name: string, endpoint: string, options: DriverClientOptions) {
    this.name = name;
    this.endpoint = endpoint;
    this.#options = options;
  }

  close(): void {
    void this.#connection?.then(({ client }) => client.close());
  }

  info(signal?: AbortSignal): Promise<NodeGetInfoResponse> {
    return this.#call('NodeGetInfo', (client, options) => client.nodeGetInfo({}, options), signal);
  }

  /** Whether the driver says that it can do this. Asked once for as long as it is registered and answers. */
  async can(ability: NodeAbility): Promise<boolean> {
    const { messages } = await this.#connect();
    this.#abilities ??= this.#readAbilities();
    return (await this.#abilities).has(messages.NodeServiceCapability_RPC_Type[ability]);
  }

  stage(
    request: {
      volumeId: string;
      stagingTargetPath: string;
      publishContext: Readonly<Record<string, string>>;
      volumeContext: Readonly<Record<string, string>>;
      secrets: Readonly<Record<string, string>>;
      use: VolumeUse;
    },
    signal?: AbortSignal,
  ): Promise<unknown> {
    const { use, ...rest } = request;
    return this.#call(
      'NodeStageVolume',
      async (client, options) =>
        client.nodeStageVolume({ ...rest, volumeCapability: await this.#capability(use) }, options),
      signal,
    );
  }

  unstage(volumeId: string, stagingTargetPath: string): Promise<unknown> {
    return this.#call('NodeUnstageVolume', (client, options) =>
      client.nodeUnstageVolume({ volumeId, stagingTargetPath }, options),
    );
  }

  publish(
    request: {
      volumeId: string;
      stagingTargetPath: string;
      targetPath: string;
      publishContext: Readonly<Record<string, string>>;
      volumeContext: Readonly<Record<string, string>>;
      secrets: Readonly<Record<string, string>>;
      readonly: boolean;
      use: VolumeUse;
    },
    signal?: AbortSignal,
  ): Promise<unknown> {
    const { use, ...rest } = request;
    return this.#call(
      'NodePublishVolume',
      async (client, options) =>
        client.nodePublishVolume({ ...rest, volumeCapability: await this.#capability(use) }, options),
      signal,
    );
  }

  unpublish(volumeId: string, targetPath: string): Promise<unknown> {
    return this.#call('NodeUnpublishVolume', (client, options) =>
      client.nodeUnpublishVolume({ volumeId, targetPath }, options),
    );
  }

  /** Grows what is on the node. @returns the size that the volume has now, bytes; 0 when the driver does not say */
  async expand(
    request: {
      volumeId: string;
      volumePath: string;
      stagingTargetPath: string;
      requiredBytes: number;
      secrets: Readonly<Record<string, string>>;
      use: VolumeUse;
    },
    signal?: AbortSignal,
  ): Promise<number> {
    const { use, requiredBytes, ...rest } = request;
    const { capacityBytes } = await this.#call(
      'NodeExpandVolume',
      async (client, options) =>
        client.nodeExpandVolume(
          {
            ...rest,
            capacityRange: { requiredBytes: BigInt(requiredBytes) },
            volumeCapability: await this.#capability(use),
          },
          options,
        ),
      signal,
    );
    return Number(capacityBytes);
  }

  statistics(volumeId: string, volumePath: string): Promise<NodeGetVolumeStatsResponse> {
    return this.#call('NodeGetVolumeStats', (client, options) =>
      client.nodeGetVolumeStats({ volumeId, volumePath }, options),
    );
  }

  /** The messages are read only when there is a driver: most nodes have none. */
  #connect() {
    this.#connection ??= import('../../../api/csi/index.ts').then((messages) => ({
      client: createGrpcClient(messages.Node, `unix://${this.endpoint.replace(/^unix:(\/\/)?/, '')}`),
      messages,
    }));
    return this.#connection;
  }

  async #call<T>(
    method: string,
    call: (client: GrpcClient<typeof Node>, options: { timeoutMs: number; signal: AbortSignal }) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const { client } = await this.#connect();
    const end = new AbortController();
    const stop = (): void => {
      // A caller that waits no longer has the call go on to its own limit: cut short, it would never come to an end.
      if (signal?.reason?.name !== 'TimeoutError') end.abort(new GrpcError('CANCELLED', 'the pod has gone'));
    };
    if (signal?.aborted) stop();
    signal?.addEventListener('abort', stop, { once: true });
    const { clock, timeoutMs = csiTimeoutMs, onCall } = this.#options;
    const startedAt = clock.monotonic();
    const told = (code: string): void =>
      onCall?.({ driver: this.name, method, code, seconds: (clock.monotonic() - startedAt) / 1000 });
    try {
      const answer = await call(client, { timeoutMs, signal: end.signal });
      told('OK');
      return answer;
    } catch (cause) {
      const error = cause instanceof CsiCallError ? cause : new CsiCallError(cause);
      told(error.codeName);
      // Another version of the driver may be behind the socket when it is back.
      if (error.code === 'UNAVAILABLE') this.#abilities = undefined;
      throw error;
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }

  async #readAbilities(): Promise<ReadonlySet<number>> {
    try {
      const { capabilities } = await this.#call('NodeGetCapabilities', (client, options) =>
        client.nodeGetCapabilities({}, options),
      );
      return new Set(capabilities.map(({ type }) => (type.case === 'rpc' ? type.value.type : 0)));
    } catch (error) {
      this.#abilities = undefined;
      throw error;
    }
  }

  async #capability(use: VolumeUse): Promise<MessageInitShape<typeof VolumeCapabilitySchema>> {
    const { messages } = await this.#connect();
    const { VolumeCapability_AccessMode_Mode: Mode } = messages;
    const manyWriters = await this.can('SINGLE_NODE_MULTI_WRITER');
    const modes: Record<string, number> = {
      ReadWriteOnce: manyWriters ? Mode.SINGLE_NODE_MULTI_WRITER : Mode.SINGLE_NODE_WRITER,
      ReadOnlyMany: Mode.MULTI_NODE_READER_ONLY,
      ReadWriteMany: Mode.MULTI_NODE_MULTI_WRITER,
      ReadWriteOncePod: manyWriters ? Mode.SINGLE_NODE_SINGLE_WRITER : Mode.SINGLE_NODE_WRITER,
    };
    const { fsType = '', mountFlags = [], mountGroup } = use;
    const volumeMountGroup = mountGroup === undefined ? '' : String(mountGroup);
    return {
      accessMode: { mode: modes[use.accessMode] ?? Mode.UNKNOWN },
      accessType: use.block
        ? { case: 'block', value: {} }
        : { case: 'mount', value: { fsType, mountFlags: [...mountFlags], volumeMountGroup } },
    };
  }
}
