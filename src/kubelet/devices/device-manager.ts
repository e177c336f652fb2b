import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Container, type Pod, quantityValue } from '../../api/index.ts';
import { devicePlugin } from '../../api/plugins/index.ts';
import type { Clock } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import { GrpcError, type GrpcServer, grpcService, serveGrpc } from '../../wire/grpc/index.ts';
import { describeError } from '../errors.ts';
import type { DeviceGrant } from '../managers/make-managers.ts';
import { containersOf, endsFirst, neededTogether, type ResourceProvider } from '../managers/resource-provider.ts';
import { everySet, type Hint, type Hints, type Nodes } from '../managers/topology-hints.ts';
import type { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import type { PluginHandler } from '../plugins/index.ts';
import { chooseDevices, type Device } from './choose-devices.ts';
import { type DeviceEntry, readDeviceState, writeDeviceState } from './device-checkpoint.ts';
import { grantOf } from './device-grant.ts';
import { DeviceRegistry } from './device-registry.ts';

/** What a device manager needs. */
export interface DeviceManagerOptions {
  /** `<root>/device-plugins`: the registration's socket and the checkpoint. */
  directory: string;
  /** NUMA nodes of the machine. */
  nodes: Nodes;
  /** Told when the node's devices have changed: its status should be written. */
  onNodeChange(): void;
  /** Told of pods one of whose devices is well or ill now. */
  onHealth(podUids: readonly string[]): void;
  metrics: KubeletMetrics;
  clock: Clock;
  log: Logger;
}

const version = 'v1beta1';
const socketName = 'kubelet.sock';
const checkpointName = 'kubelet_internal_checkpoint';

/** Hands out devices of plugins. What is whose is in the checkpoint, and outlives the kubelet. */
export class DeviceManager implements ResourceProvider {
  readonly name = 'devices';
  readonly #options: DeviceManagerOptions;
  readonly #registry: DeviceRegistry;
  #entries: DeviceEntry[] = [];
  /** Devices that init containers of the pod that is being let in leave to those after them, by resource. */
  #reusable: { podUid: string; devices: Map<string, string[]> } = { podUid: '', devices: new Map() };
  #server: GrpcServer | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: DeviceManagerOptions) {
    this.#options = options;
    const { clock, log } = options;
    this.#registry = new DeviceRegistry({
      clock,
      log,
      onChange: (resource, changed) => this.#changed(resource, changed),
    });
  }

  /** Takes over the checkpoint. Plugins of an earlier life see their sockets go, and come again. */
  async start(): Promise<void> {
    const { directory, log } = this.#options;
    const file = join(directory, checkpointName);
    try {
      const state = await readDeviceState(file);
      this.#entries = state?.entries ?? [];
      for (const resource of [...Object.keys(state?.registered ?? {}), ...this.#entries.map((entry) => entry.resource)])
        this.#registry.expect(resource);
    } catch (error) {
      log.warn('cannot take over which devices are whose', { file, error });
    }
    for (const name of await readdir(directory).catch(() => [])) {
      if (name === checkpointName) continue;
      const path = join(directory, name);
      if (!(await stat(path).catch(() => undefined))?.isDirectory()) await rm(path, { force: true });
    }
    await this.#write();
  }

  /** Lets plugins register. */
  async serve(): Promise<void> {
    const { directory, log } = this.#options;
    const register = async (request: devicePlugin.RegisterRequest) => {
      this.#options.metrics.count('kubelet_device_plugin_registration_total', { resource_name: request.resourceName });
      this.#check(request.resourceName, [request.version]);
      await this.#registry.connect(request.resourceName, join(directory, request.endpoint));
      return {};
    };
    const onError = (_: string, error: GrpcError) => log.warn('a device plugin was not registered', { error });
    const services = [grpcService(devicePlugin.Registration, { register })];
    this.#server = await serveGrpc(join(directory, socketName), services, { onError });
  }

  async stop(): Promise<void> {
    await this.#server?.close();
    this.#registry.close();
    await this.#writing;
  }

  /** Takes device plugins that register by a socket in plugins_registry. */
  get plugins(): PluginHandler {
    return {
      validate: ({ name, versions }) => this.#check(name, versions),
      register: ({ name, endpoint }) => this.#registry.connect(name, endpoint),
      deregister: ({ name }) => this.#registry.disconnect(name),
    };
  }

  /** Capacity and allocatable of the node, by resource. */
  counts(): Map<string, { capacity: number; allocatable: number }> {
    return this.#registry.counts();
  }

  /** Healthy devices by resource. */
  allocatable(): Map<string, Device[]> {
    return new Map(
      this.#registry
        .resources()
        .map((name) => [name, [...this.#registry.devices(name).values()].filter(({ healthy }) => healthy)]),
    );
  }

  /** What a container has. */
  entriesOf(podUid: string, container: string): DeviceEntry[] {
    return this.#entries.filter((entry) => entry.podUid === podUid && entry.container === container);
  }

  /** Whether a device is well; one that its plugin does not tell of counts as well. */
  isHealthy(resource: string, id: string): boolean {
    return this.#registry.devices(resource).get(id)?.healthy ?? true;
  }

  hints(pod: Pod, container: Container): Hints {
    const uid = pod.metadata.uid;
    return this.#hints(
      this.#wanted(container),
      (resource) => {
        const has = this.#entries.filter((one) => one.podUid === uid && one.container === container.name);
        return idsOf(has.filter((one) => one.resource === resource));
      },
      pod,
    );
  }

  podHints(pod: Pod): Hints {
    const names = new Set(containersOf(pod).flatMap((one) => [...this.#wanted(one).keys()]));
    const wanted = new Map(
      [...names].map((name) => [name, neededTogether(pod, (one) => this.#wanted(one).get(name) ?? 0)]),
    );
    const uid = pod.metadata.uid;
    return this.#hints(
      wanted,
      (resource) => idsOf(this.#entries.filter((one) => one.podUid === uid && one.resource === resource)),
      pod,
    );
  }

  async allocate(pod: Pod, container: Container, nodes: Nodes | undefined): Promise<void> {
    for (const [resource, count] of this.#wanted(container))
      if (count > 0) await this.#allocate(pod, container, resource, count, nodes);
  }

  async release(podUid: string): Promise<void> {
    if (this.#reusable.podUid === podUid) this.#reusable = { podUid: '', devices: new Map() };
    const left = this.#entries.filter((entry) => entry.podUid !== podUid);
    if (left.length === this.#entries.length) return;
    this.#entries = left;
    await this.#write();
  }

  /** Pods that have devices. */
  podUids(): string[] {
    return [...new Set(this.#entries.map(({ podUid }) => podUid))];
  }

  /** Has the devices of a container that is about to be made prepared, and gives what comes with them. */
  async grant(pod: Pod, container: Container): Promise<DeviceGrant> {
    const entries = this.entriesOf(pod.metadata.uid, container.name);
    for (const { resource, devices } of entries) {
      const connection = this.#registry.connection(resource);
      try {
        await connection?.preStart([...new Set([...devices.values()].flat())]);
      } catch (error) {
        throw new Error(`device plugin PreStartContainer rpc failed with err: ${describeError(error)}`, {
          cause: error,
        });
      }
    }
    return grantOf(entries);
  }

  #check(resource: string, versions: readonly string[]): void {
    if (!versions.includes(version))
      throw new GrpcError(
        'UNKNOWN',
        `requested API version ${JSON.stringify(versions.join(','))} is not supported by kubelet. Supported version is ["${version}"]`,
      );
    if (!isExtendedResource(resource))
      throw new GrpcError(
        'UNKNOWN',
        `the ResourceName ${JSON.stringify(resource)} is invalid: name it with a domain of yours, as example.com/device`,
      );
  }

  #changed(resource: string, changed: readonly string[]): void {
    const { log, onNodeChange, onHealth } = this.#options;
    this.#writing = this.#write().catch((error: unknown) =>
      log.warn('cannot write which devices there are', { resource, error }),
    );
    onNodeChange();
    const ill = this.#entries.filter(
      (entry) => entry.resource === resource && idsOf([entry]).some((id) => changed.includes(id)),
    );
    if (ill.length > 0) onHealth([...new Set(ill.map(({ podUid }) => podUid))]);
  }

  #write(): Promise<void> {
    const registered = Object.fromEntries(
      [...this.allocatable()].map(([name, all]) => [name, all.map(({ id }) => id)]),
    );
    return writeDeviceState(join(this.#options.directory, checkpointName), { entries: this.#entries, registered });
  }

  /** How many of which devices the container asks for. */
  #wanted({ resources }: Container): Map<string, number> {
    const known = (name: string) => this.#registry.has(name) || this.#entries.some((entry) => entry.resource === name);
    return new Map(
      Object.entries(resources?.limits ?? {})
        .filter(([name]) => known(name))
        .map(([name, quantity]) => [name, quantityValue(quantity)]),
    );
  }

  #reusableOf(pod: Pod, resource: string): string[] {
    return this.#reusable.podUid === pod.metadata.uid ? (this.#reusable.devices.get(resource) ?? []) : [];
  }

  #free(resource: string): Device[] {
    const taken = new Set(idsOf(this.#entries.filter((entry) => entry.resource === resource)));
    return [...this.#registry.devices(resource).values()].filter(({ id, healthy }) => healthy && !taken.has(id));
  }

  async #allocate(
    pod: Pod,
    container: Container,
    resource: string,
    count: number,
    nodes: Nodes | undefined,
  ): Promise<void> {
    const { uid } = pod.metadata;
    const devices = this.#registry.devices(resource);
    const known = idsOf(this.entriesOf(uid, container.name).filter((entry) => entry.resource === resource));
    if (known.length > 0 && known.length !== count)
      throw new Error(
        `pod "${uid}" container "${container.name}" changed request for resource "${resource}" from ${known.length} to ${count}`,
      );
    if (!this.#registry.has(resource)) throw new Error(`cannot allocate unregistered device ${resource}`);
    if (![...devices.values()].some(({ healthy }) => healthy))
      throw new Error(`no healthy devices present; cannot allocate unhealthy devices ${resource}`);
    if (known.some((id) => !devices.get(id)?.healthy))
      throw new Error(
        `previously allocated devices are no longer healthy; cannot allocate unhealthy devices ${resource}`,
      );
    if (known.length > 0) return this.#noteReusable(pod, container, resource, known);
    const connection = this.#registry.connection(resource);
    if (!connection) throw new Error(`unknown Device Plugin ${resource}`);
    const from = { free: this.#free(resource), reusable: this.#reusableOf(pod, resource) };
    const ask = (...request: [string[], string[], number]) => connection.preferred(...request);
    const ids = await chooseDevices(resource, count, from, nodes, ask);
    const { metrics, clock } = this.#options;
    const labels = { resource_name: resource };
    const now = () => clock.monotonic();
    const answer = await metrics.time('kubelet_device_plugin_alloc_duration_seconds', labels, now, () =>
      connection.allocate(ids),
    );
    const byNode = new Map<number, string[]>();
    for (const id of ids)
      for (const node of devices.get(id)?.nodes.length ? devices.get(id)!.nodes : [-1])
        byNode.set(node, [...(byNode.get(node) ?? []), id]);
    this.#entries.push({ podUid: uid, container: container.name, resource, devices: byNode, answer });
    this.#noteReusable(pod, container, resource, ids);
    await this.#write();
  }

  #noteReusable(pod: Pod, container: Container, resource: string, ids: readonly string[]): void {
    if (this.#reusable.podUid !== pod.metadata.uid) this.#reusable = { podUid: pod.metadata.uid, devices: new Map() };
    const { devices } = this.#reusable;
    const others = (devices.get(resource) ?? []).filter((id) => !ids.includes(id));
    devices.set(resource, endsFirst(pod, container) ? [...others, ...ids] : others);
  }

  #hints(wanted: ReadonlyMap<string, number>, has: (resource: string) => string[], pod: Pod): Hints {
    const hints = new Map<string, Hint[]>();
    const anywhere: Hint[] = [{ nodes: undefined, preferred: true }];
    for (const [resource, count] of wanted) {
      const devices = this.#registry.devices(resource);
      if (![...devices.values()].some(({ nodes }) => nodes.length > 0)) {
        hints.set(resource, anywhere);
        continue;
      }
      const known = has(resource);
      const must = known.length > 0 ? known : this.#reusableOf(pod, resource);
      const free = known.length > 0 ? [] : this.#free(resource);
      const fits = known.length > 0 ? known.length === count : free.length + must.length >= count;
      hints.set(resource, fits ? this.#places(devices, free, must, count) : []);
    }
    return hints;
  }

  #places(
    devices: ReadonlyMap<string, Device>,
    free: readonly Device[],
    must: readonly string[],
    count: number,
  ): Hint[] {
    const all = new Set([...devices.values()].flatMap(({ nodes }) => nodes));
    const nodes = this.#options.nodes.filter((node) => all.has(node));
    const found: Nodes[] = [];
    let least = nodes.length;
    for (const set of everySet(nodes)) {
      const isOn = (device: Device | undefined) => device?.nodes.some((node) => set.includes(node)) ?? false;
      if ([...devices.values()].filter(isOn).length >= count) least = Math.min(least, set.length);
      if (must.some((id) => !isOn(devices.get(id)))) continue;
      const more = free.filter((device) => isOn(device) && !must.includes(device.id)).length;
      if (must.length + more >= count) found.push(set);
    }
    return found.map((set) => ({ nodes: set, preferred: set.length === least }));
  }
}

function idsOf(entries: readonly DeviceEntry[]): string[] {
  return [...new Set(entries.flatMap(({ devices }) => [...devices.values()].flat()))];
}

/** Whether a resource is named as those outside of Kubernetes are: with a domain that is not kubernetes.io. */
export function isExtendedResource(name: string): boolean {
  const [domain = '', ...rest] = name.split('/');
  if (rest.length !== 1 || rest[0] === '') return false;
  if (domain === 'kubernetes.io' || domain.endsWith('.kubernetes.io') || name.startsWith('requests.')) return false;
  return (
    /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(domain) && /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/.test(rest[0]!)
  );
}
