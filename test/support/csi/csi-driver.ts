import { existsSync } from 'node:fs';
import { mkdir, rm, rmdir, statfs, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  Controller,
  ControllerServiceCapability_RPC_Type as ControllerCapability,
  Identity,
  Node,
  NodeServiceCapability_RPC_Type as NodeCapability,
  PluginCapability_Service_Type as PluginService,
  VolumeUsage_Unit as Unit,
} from '../../../src/api/csi/index.ts';
import { pluginRegistration } from '../../../src/api/plugins/index.ts';
import { bindMount, isMountPoint, unmount } from '../../../src/host/mounts/index.ts';
import { GrpcError, type GrpcServer, grpcService, serveGrpc } from '../../../src/wire/grpc/index.ts';
import { output } from '../processes.ts';

/** What the driver is and can do. */
export interface CsiDriverOptions {
  name: string;
  /** Where its sockets and volumes are; short, because a socket's path may have 107 bytes. */
  directory: string;
  nodeId?: string;
  maximumVolumes?: number;
  topology?: Record<string, string>;
  /** Capabilities of its node service by name. Default staging, statistics, expansion, all access modes and volume conditions. */
  node?: readonly (keyof typeof NodeCapability)[];
  /** Capabilities of its controller service by name. Default all that it knows. */
  controller?: readonly (keyof typeof ControllerCapability)[];
}

/** One call as it came in. */
export interface CsiCall {
  method: string;
  request: any;
}

/** Replaces what a method does; what it throws is the call's error. */
export type CsiBehaviour = (request: any, context: { signal: AbortSignal }) => Promise<void> | void;

const defaults = {
  node: ['STAGE_UNSTAGE_VOLUME', 'GET_VOLUME_STATS', 'EXPAND_VOLUME', 'SINGLE_NODE_MULTI_WRITER', 'VOLUME_CONDITION'],
  controller: ['CREATE_DELETE_VOLUME', 'PUBLISH_UNPUBLISH_VOLUME', 'EXPAND_VOLUME', 'SINGLE_NODE_MULTI_WRITER'],
} as const satisfies Required<Pick<CsiDriverOptions, 'node' | 'controller'>>;

/**
 * A CSI driver for tests: a volume is a directory (or, as a block volume, a device node without anything behind it).
 * It records its calls, and `before` makes any of them fail, hang or be slow. `stop` and `start` are its death and return:
 * what it has mounted stays.
 */
export class CsiDriver implements AsyncDisposable {
  readonly name: string;
  readonly options: CsiDriverOptions;
  readonly calls: CsiCall[] = [];
  /** What the kubelet has said about its registrations. */
  readonly registrations: { registered: boolean; error: string }[] = [];
  /** What NodeGetVolumeStats says of every volume's health. */
  condition = { abnormal: false, message: 'well' };
  readonly #behaviours = new Map<string, CsiBehaviour>();
  readonly #mounts = new Set<string>();
  #server: GrpcServer | undefined;
  #registration: GrpcServer | undefined;

  constructor(options: CsiDriverOptions) {
    this.options = options;
    this.name = options.name;
  }

  /** The socket of the three services. */
  get socket(): string {
    return join(this.options.directory, `${this.name}.sock`);
  }

  async start(): Promise<void> {
    await mkdir(this.options.directory, { recursive: true });
    this.#server = await serveGrpc(this.socket, [this.#identity(), this.#node(), this.#controller()]);
  }

  /** Does what a driver's registrar does beside it: makes it known to the kubelet that has this root directory. */
  async register(kubeletRoot: string, versions: string[] = ['1.0.0']): Promise<void> {
    const socket = join(kubeletRoot, 'plugins_registry', `${this.name}-reg.sock`);
    const { Registration } = pluginRegistration;
    this.#registration = await serveGrpc(socket, [
      grpcService(Registration, {
        getInfo: () => ({
          type: 'CSIPlugin',
          name: this.name,
          endpoint: this.socket,
          supportedVersions: versions,
        }),
        notifyRegistrationStatus: ({ pluginRegistered, error }) => {
          this.registrations.push({ registered: pluginRegistered, error });
          return {};
        },
      }),
    ]);
  }

  /** Takes the registration away: the driver leaves the node. */
  async unregister(): Promise<void> {
    await this.#registration?.close();
    this.#registration = undefined;
  }

  async stop(): Promise<void> {
    await this.#server?.close();
    this.#server = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.unregister();
    await this.stop();
    for (const target of this.#mounts) unmount(target);
    await rm(this.options.directory, { recursive: true, force: true });
  }

  /** Runs something before a method's own work, each time; undefined takes it back. */
  before(method: string, behaviour: CsiBehaviour | undefined): void {
    if (behaviour) this.#behaviours.set(method, behaviour);
    else this.#behaviours.delete(method);
  }

  /** The requests of a method, oldest first; of one volume when it is named. */
  requests(method: string, volumeId?: string): any[] {
    return this.calls
      .filter((call) => call.method === method && (volumeId === undefined || call.request.volumeId === volumeId))
      .map(({ request }) => request);
  }

  /** The names of the calls for a volume, in order, but for those that ask how full it is. */
  history(volumeId: string): string[] {
    const calls = this.calls.filter(({ request }) => request.volumeId === volumeId);
    return calls.map(({ method }) => method).filter((method) => method !== 'NodeGetVolumeStats');
  }

  /** Where a volume's files are. */
  dataPath(volumeId: string): string {
    return join(this.options.directory, 'volumes', volumeId);
  }

  /** Makes a volume as if by CreateVolume, for PersistentVolumes made by hand. */
  async createVolume(volumeId: string, files: Record<string, string> = {}): Promise<void> {
    await mkdir(this.dataPath(volumeId), { recursive: true });
    for (const [name, text] of Object.entries(files)) await writeFile(join(this.dataPath(volumeId), name), text);
  }

  /** A handler that records the call, does what a test wants before it, and then its work. */
  #method<Q, R>(
    method: string,
    work: (request: Q) => Promise<R> | R,
  ): (request: Q, context: { signal: AbortSignal }) => Promise<R> {
    return async (request, context) => {
      this.calls.push({ method, request });
      await this.#behaviours.get(method)?.(request, context);
      return work(request);
    };
  }

  #identity() {
    return grpcService(Identity, {
      getPluginInfo: this.#method('GetPluginInfo', () => ({ name: this.name, vendorVersion: '1.0.0' })),
      getPluginCapabilities: this.#method('GetPluginCapabilities', () => ({
        capabilities: [
          { type: { case: 'service' as const, value: { type: PluginService.CONTROLLER_SERVICE } } },
          { type: { case: 'service' as const, value: { type: PluginService.VOLUME_ACCESSIBILITY_CONSTRAINTS } } },
        ],
      })),
      probe: this.#method('Probe', () => ({ ready: true })),
    });
  }

  #node() {
    const { nodeId = 'csi-node-1', maximumVolumes = 0, topology, node = defaults.node } = this.options;
    return grpcService(Node, {
      nodeGetInfo: this.#method('NodeGetInfo', () => ({
        nodeId,
        maxVolumesPerNode: BigInt(maximumVolumes),
        ...(topology ? { accessibleTopology: { segments: topology } } : {}),
      })),
      nodeGetCapabilities: this.#method('NodeGetCapabilities', () => ({
        capabilities: node.map((name) => ({ type: { case: 'rpc' as const, value: { type: NodeCapability[name] } } })),
      })),
      nodeStageVolume: this.#method('NodeStageVolume', (request) => this.#stage(request)),
      nodeUnstageVolume: this.#method('NodeUnstageVolume', ({ stagingTargetPath }) => {
        this.#unmount(stagingTargetPath);
        return {};
      }),
      nodePublishVolume: this.#method('NodePublishVolume', (request) => this.#publish(request)),
      nodeUnpublishVolume: this.#method('NodeUnpublishVolume', (request) => this.#unpublish(request)),
      nodeGetVolumeStats: this.#method('NodeGetVolumeStats', ({ volumePath }) => this.#statistics(volumePath)),
      nodeExpandVolume: this.#method('NodeExpandVolume', ({ capacityRange }) => ({
        capacityBytes: capacityRange?.requiredBytes ?? 0n,
      })),
    });
  }

  #controller() {
    const { controller = defaults.controller, topology } = this.options;
    return grpcService(Controller, {
      controllerGetCapabilities: this.#method('ControllerGetCapabilities', () => ({
        capabilities: controller.map((name) => ({
          type: { case: 'rpc' as const, value: { type: ControllerCapability[name] } },
        })),
      })),
      createVolume: this.#method('CreateVolume', async ({ name, capacityRange, parameters }) => {
        await this.createVolume(name);
        return {
          volume: {
            volumeId: name,
            capacityBytes: capacityRange?.requiredBytes ?? 0n,
            volumeContext: parameters,
            accessibleTopology: topology ? [{ segments: topology }] : [],
          },
        };
      }),
      deleteVolume: this.#method('DeleteVolume', async ({ volumeId }) => {
        await rm(this.dataPath(volumeId), { recursive: true, force: true });
        return {};
      }),
      controllerPublishVolume: this.#method('ControllerPublishVolume', ({ volumeId, nodeId }) => ({
        publishContext: { device: `/dev/disk/${volumeId}`, attachedTo: nodeId },
      })),
      controllerUnpublishVolume: this.#method('ControllerUnpublishVolume', () => ({})),
      controllerExpandVolume: this.#method('ControllerExpandVolume', ({ capacityRange }) => ({
        capacityBytes: capacityRange?.requiredBytes ?? 0n,
        nodeExpansionRequired: true,
      })),
    });
  }

  async #stage({ volumeId, stagingTargetPath, volumeCapability }: any): Promise<object> {
    if (volumeCapability?.accessType.case === 'block') return {};
    if (!existsSync(this.dataPath(volumeId))) throw new GrpcError('NOT_FOUND', `volume ${volumeId} does not exist`);
    if (!isMountPoint(stagingTargetPath)) this.#mount(this.dataPath(volumeId), stagingTargetPath);
    return {};
  }

  async #publish({ volumeId, targetPath, stagingTargetPath, volumeCapability, volumeContext, readonly }: any) {
    if (isMountPoint(targetPath)) return {};
    if (volumeCapability?.accessType.case === 'block') return this.#publishBlock(volumeId, targetPath);
    if (isInline(volumeId))
      await this.createVolume(volumeId, { 'made-for': volumeContext['csi.storage.k8s.io/pod.name'] ?? '' });
    const source = stagingTargetPath || this.dataPath(volumeId);
    if (!existsSync(source)) throw new GrpcError('NOT_FOUND', `volume ${volumeId} does not exist`);
    await mkdir(targetPath, { recursive: true });
    this.#mount(source, targetPath, readonly);
    return {};
  }

  /** A device of a number that the kernel knows, shown at the target as a file. */
  async #publishBlock(volumeId: string, targetPath: string) {
    const device = `${this.dataPath(volumeId)}.device`;
    await mkdir(dirname(device), { recursive: true });
    if (!existsSync(device)) await output(['mknod', device, 'b', '7', '7']);
    await writeFile(targetPath, '');
    this.#mount(device, targetPath);
    return {};
  }

  async #unpublish({ volumeId, targetPath }: any): Promise<object> {
    this.#unmount(targetPath);
    await rmdir(targetPath).catch(() => rm(targetPath, { force: true }));
    if (isInline(volumeId)) await rm(this.dataPath(volumeId), { recursive: true, force: true });
    return {};
  }

  async #statistics(path: string) {
    if (!existsSync(path)) throw new GrpcError('NOT_FOUND', `nothing at ${path}`);
    const { bsize, blocks, bfree, bavail, files, ffree } = await statfs(path, { bigint: true });
    return {
      usage: [
        { unit: Unit.BYTES, total: blocks * bsize, used: (blocks - bfree) * bsize, available: bavail * bsize },
        { unit: Unit.INODES, total: files, used: files - ffree, available: ffree },
      ],
      volumeCondition: this.condition,
    };
  }

  #mount(source: string, target: string, readOnly = false): void {
    bindMount(source, target, { readOnly });
    this.#mounts.add(target);
  }

  #unmount(target: string): void {
    unmount(target);
    this.#mounts.delete(target);
  }
}

/** Whether a volume is a pod's own: the kubelet makes up its name. */
function isInline(volumeId: string): boolean {
  return /^csi-[0-9a-f]{64}$/.test(volumeId);
}
