import { type ContainerImage, type Node, type NodeStatus, resources } from '../../api/index.ts';
import type { Clock, Timer } from '../../async/index.ts';
import { type ApiClient, createInformer, type EventRecorder, isNotFound, keepLease } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';
import { durationMs } from '../config/duration.ts';
import { isFeatureOn } from '../config/feature-gates.ts';
import type { KubeletSettings } from '../config/settings.ts';
import { hardEvictionReservation } from '../eviction/thresholds.ts';
import type { NodeInputs, NodeReporter } from '../pods/ports.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import { type MachineCapacity, mostPods, reservationsOf, totalReserved } from '../resources/index.ts';
import { NodeEvents } from './node-events.ts';
import { makeNodeStatus, type NodeFacts, type RuntimeFacts } from './node-status.ts';
import { draftNode, registerNode, statusPatch } from './registration.ts';
import { readImages, readRuntimeFacts } from './runtime-facts.ts';

/** What the reporter of a node needs. */
export interface NodeReporterOptions {
  settings: KubeletSettings;
  /** Undefined: nothing is registered. */
  client: ApiClient | undefined;
  runtime: RuntimeClient;
  capacity: MachineCapacity;
  inputs: NodeInputs;
  events: EventRecorder | undefined;
  kubeletVersion: string;
  log: Logger;
  clock: Clock;
}

/** While something is wrong the runtime is asked this often, milliseconds; so Ready follows at once when it is well. */
const problemCheckMs = 100;
/** … and, when it stays wrong, at least this often. */
const longestProblemCheckMs = 1_000;
/** An API server that does not answer is tried again at least this often, milliseconds. */
const longestRetryMs = 7_000;

/** Registers the node, then writes its status on change and at intervals, and keeps its Lease. */
export function startNodeReporter(options: NodeReporterOptions): NodeReporter {
  const reporter = new ApiNodeReporter(options);
  reporter.start();
  return reporter;
}

class ApiNodeReporter implements NodeReporter {
  readonly ready: Promise<void>;
  readonly #options: NodeReporterOptions;
  readonly #stop = new AbortController();
  #markReady: () => void = () => {};
  #runtime: RuntimeFacts | undefined;
  #images: ContainerImage[] = [];
  #imagesAt = Number.NEGATIVE_INFINITY;
  #seen: Node | undefined;
  #written: string | undefined;
  #writtenAt = 0;
  #pending: Timer | undefined;
  #working = false;
  #again = false;
  #registered: () => void = () => {};
  /** Resolves when the Node is there. */
  readonly #isRegistered: Promise<void>;
  #isOurs = false;
  #retryMs = problemCheckMs;
  #failure = '';
  #bootId: string | undefined;
  readonly #events: NodeEvents;
  readonly #deviceNames = new Set<string>();

  constructor(options: NodeReporterOptions) {
    this.#options = options;
    this.#events = new NodeEvents(options.settings.nodeName, options.events);
    this.#isRegistered = new Promise((resolve) => {
      this.#registered = resolve;
    });
    this.ready = options.client
      ? new Promise((resolve) => {
          this.#markReady = resolve;
        })
      : Promise.resolve();
  }

  start(): void {
    const { client, settings, clock, log } = this.#options;
    const { nodeName } = settings;
    this.#events.starting();
    if (client) {
      const informer = createInformer(client, resources.nodes, {
        fieldSelector: `metadata.name=${nodeName}`,
        log,
        clock,
        onChange: (_key, now) => {
          this.#seen = now;
          if (now) this.#events.schedulable(now);
          // Somebody deleted the node: register it again.
          if (!now) this.changed();
        },
      });
      informer.start(this.#stop.signal);
      void this.#keepLease(client);
    }
    this.changed();
  }

  node(): Node | undefined {
    return this.#seen ?? draftNode(this.#options.settings, this.#status());
  }
  hostIps(): string[] {
    return this.#options.settings.nodeIps;
  }
  networkProblem(): string | undefined {
    return this.#runtime ? this.#runtime.networkProblem : 'container runtime status check may not have completed yet';
  }
  changed(): void {
    this.#schedule(0);
  }
  async stop(): Promise<void> {
    this.#stop.abort(new Error('the node reporter was stopped'));
    this.#pending?.cancel();
  }

  async #keepLease(client: ApiClient): Promise<void> {
    const { settings, clock, log } = this.#options;
    const durationSeconds = settings.configuration.nodeLeaseDurationSeconds;
    await this.#isRegistered;
    const owner = () => {
      const uid = this.#seen?.metadata.uid;
      return uid ? [{ apiVersion: 'v1', kind: 'Node', name: settings.nodeName, uid }] : undefined;
    };
    const lease = {
      name: settings.nodeName,
      namespace: 'kube-node-lease',
      holder: settings.nodeName,
      durationSeconds,
      renewMs: durationSeconds * 250,
      log,
      clock,
    };
    await keepLease(client, { ...lease, ownerReferences: owner }, this.#stop.signal);
  }

  #schedule(ms: number): void {
    if (this.#stop.signal.aborted) return;
    this.#pending?.cancel();
    this.#pending = this.#options.clock.after(ms, () => void this.#work());
  }

  /** Looks at everything and writes what has changed; then sleeps until something may have. */
  async #work(): Promise<void> {
    if (this.#working) {
      this.#again = true;
      return;
    }
    this.#working = true;
    let nextMs = durationMs(this.#options.settings.configuration.nodeStatusUpdateFrequency);
    try {
      await this.#look();
      if (this.#options.client) await this.#write(this.#options.client);
      this.#failure = '';
      if (this.#problem() === undefined) this.#retryMs = problemCheckMs;
      else nextMs = Math.min(nextMs, this.#backOff(longestProblemCheckMs));
    } catch (error) {
      this.#tellFailure(error);
      nextMs = Math.min(nextMs, this.#backOff(longestRetryMs));
    } finally {
      this.#working = false;
    }
    this.#schedule(this.#again ? 0 : nextMs);
    this.#again = false;
  }

  #backOff(longestMs: number): number {
    const waitMs = Math.min(this.#retryMs, longestMs);
    this.#retryMs = waitMs * 1.25;
    return waitMs;
  }

  /** Each failure once: an API server that is away for an hour is one. */
  #tellFailure(error: unknown): void {
    if (this.#stop.signal.aborted) return;
    const text = error instanceof Error ? error.message : String(error);
    const isNew = text !== this.#failure;
    this.#failure = text;
    this.#options.log[isNew ? 'warn' : 'debug']('the node is not written', {
      node: this.#options.settings.nodeName,
      error,
    });
  }

  #problem(): string | undefined {
    return this.#runtime?.problem ?? this.#runtime?.networkProblem ?? this.#options.inputs.podLifecycleProblem();
  }

  async #look(): Promise<void> {
    const { runtime, clock, settings } = this.#options;
    this.#runtime = await readRuntimeFacts(runtime, this.#runtime);
    if (this.#runtime.problem === undefined && clock.monotonic() - this.#imagesAt > 30_000) {
      this.#images = await readImages(runtime, settings.configuration.nodeStatusMaxImages).catch(() => this.#images);
      this.#imagesAt = clock.monotonic();
    }
  }

  #facts(): NodeFacts {
    const { settings, capacity, inputs, kubeletVersion } = this.#options;
    const { configuration } = settings;
    return {
      nodeName: settings.nodeName,
      addresses: settings.nodeIps,
      cloudAddresses: settings.externalCloud ? this.#seen?.status?.addresses : undefined,
      declaresFeatures: isFeatureOn(configuration.featureGates, 'NodeDeclaredFeatures'),
      capacity,
      maxPods: mostPods(configuration, capacity),
      reserved: totalReserved(reservationsOf(settings)),
      evictionReserved: settings.ignoreEvictionInAllocatable
        ? { memoryBytes: 0, storageBytes: 0 }
        : hardEvictionReservation(configuration, capacity),
      pressures: inputs.pressures(),
      localStorage: configuration.localStorageCapacityIsolation,
      kubeletVersion,
      kubeletPort: configuration.port,
      runtime: this.#runtime ?? {
        version: '',
        problem: 'container runtime status check may not have completed yet',
        networkProblem: undefined,
        handlers: [],
        supplementalGroupsPolicy: false,
      },
      images: this.#images,
      devices: this.#devices(),
      volumesInUse: inputs.volumesInUse() ?? this.#seen?.status?.volumesInUse ?? [],
      problem: inputs.podLifecycleProblem(),
    };
  }

  /** Those of plugins; of a plugin that has gone there are none. */
  #devices(): NodeFacts['devices'] {
    const devices = new Map(this.#options.inputs.devices());
    for (const name of devices.keys()) this.#deviceNames.add(name);
    for (const name of this.#deviceNames) if (!devices.has(name)) devices.set(name, { capacity: 0, allocatable: 0 });
    return devices;
  }

  #status(): NodeStatus {
    return makeNodeStatus(this.#facts(), this.#seen, apiTime(this.#options.clock.now()));
  }

  async #write(client: ApiClient): Promise<void> {
    const { settings, clock } = this.#options;
    const { nodeName, configuration } = settings;
    // The watch may bring the Node of an earlier life before this one has taken it on.
    if (!this.#seen || !this.#isOurs) {
      if (!configuration.registerNode) this.#seen = await client.get(resources.nodes, nodeName);
      else this.#seen = await registerNode(client, settings, this.#status());
      this.#written = undefined;
      this.#isOurs = true;
    }
    this.#registered();
    this.#noteBoot();
    const status = this.#status();
    const content = JSON.stringify({
      ...status,
      conditions: status.conditions?.map(({ lastHeartbeatTime, ...rest }) => rest),
    });
    const due = clock.monotonic() - this.#writtenAt >= durationMs(configuration.nodeStatusReportFrequency);
    if (content !== this.#written || due) {
      try {
        const patch = statusPatch(status, this.#seen.status);
        this.#seen = await client.patch(resources.nodes, nodeName, patch, { type: 'strategic', subresource: 'status' });
      } catch (error) {
        if (isNotFound(error)) this.#seen = undefined;
        throw error;
      }
      this.#written = JSON.stringify({
        ...status,
        conditions: status.conditions?.map(({ lastHeartbeatTime, ...rest }) => rest),
      });
      this.#writtenAt = clock.monotonic();
    }
    this.#events.status(status);
    if (status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True')) this.#markReady();
  }

  /** The Node says under which boot it was last written. */
  #noteBoot(): void {
    const before = this.#seen?.status?.nodeInfo?.bootID;
    const { bootID } = this.#status().nodeInfo!;
    if (this.#bootId === undefined && before && before !== bootID) this.#events.rebooted(bootID);
    this.#bootId = bootID;
  }
}

/** A time of the API: RFC 3339 in whole seconds. */
function apiTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
