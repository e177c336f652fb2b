import { type ContainerImage, type Node, type NodeStatus, resources } from '../../api/index.ts';
import type { Clock, Timer } from '../../async/index.ts';
import {
  type ApiClient,
  createInformer,
  type EventRecorder,
  isAlreadyExists,
  isNotFound,
  keepLease,
} from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';
import { durationMs } from '../config/duration.ts';
import type { KubeletSettings } from '../config/settings.ts';
import { hardEvictionReservation } from '../eviction/thresholds.ts';
import { type NodeInputs, type NodePressure, type NodeReporter, nodePressures } from '../pods/ports.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import { type MachineCapacity, mostPods, reservationsOf, totalReserved } from '../resources/index.ts';
import { makeNodeStatus, type NodeFacts, type RuntimeFacts, wellKnownLabels } from './node-status.ts';
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
  #wasReady = false;
  /** The pressures as last told. */
  readonly #pressures = new Map<NodePressure, string>();

  constructor(options: NodeReporterOptions) {
    this.#options = options;
    this.ready = options.client
      ? new Promise((resolve) => {
          this.#markReady = resolve;
        })
      : Promise.resolve();
  }

  start(): void {
    const { client, settings, clock, log } = this.#options;
    const { nodeName } = settings;
    if (client) {
      const informer = createInformer(client, resources.nodes, {
        fieldSelector: `metadata.name=${nodeName}`,
        log,
        clock,
        onChange: (_key, now) => {
          this.#seen = now;
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
    return this.#seen ?? this.#draft(this.#status());
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
    await this.ready;
    const uid = this.#seen?.metadata.uid;
    const owner = uid ? [{ apiVersion: 'v1', kind: 'Node', name: settings.nodeName, uid }] : undefined;
    const lease = {
      name: settings.nodeName,
      namespace: 'kube-node-lease',
      holder: settings.nodeName,
      durationSeconds,
      renewMs: durationSeconds * 250,
      log,
      clock,
    };
    await keepLease(client, { ...lease, ...(owner ? { ownerReferences: owner } : {}) }, this.#stop.signal);
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
      if (this.#problem() !== undefined) nextMs = problemCheckMs;
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#options.log.debug('node status not written', { error });
      nextMs = problemCheckMs;
    } finally {
      this.#working = false;
    }
    this.#schedule(this.#again ? 0 : nextMs);
    this.#again = false;
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
      capacity,
      maxPods: mostPods(configuration, capacity),
      reserved: totalReserved(reservationsOf(settings)),
      evictionReserved: hardEvictionReservation(configuration, capacity),
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
      devices: inputs.devices(),
      volumesInUse: inputs.volumesInUse() ?? this.#seen?.status?.volumesInUse ?? [],
      problem: inputs.podLifecycleProblem(),
    };
  }

  #status(): NodeStatus {
    return makeNodeStatus(this.#facts(), this.#seen, apiTime(this.#options.clock.now()));
  }

  #draft(status: NodeStatus): Node {
    const { settings } = this.#options;
    const taints = settings.configuration.registerWithTaints;
    return {
      metadata: {
        name: settings.nodeName,
        labels: { ...wellKnownLabels(settings.nodeName), ...settings.nodeLabels },
        annotations: { 'volumes.kubernetes.io/controller-managed-attach-detach': 'true' },
      },
      spec: {
        ...(taints?.length ? { taints } : {}),
        ...(settings.configuration.providerID ? { providerID: settings.configuration.providerID } : {}),
      },
      status,
    } as unknown as Node;
  }

  async #write(client: ApiClient): Promise<void> {
    const { settings, clock } = this.#options;
    const { nodeName, configuration } = settings;
    if (!this.#seen) await this.#register(client);
    const status = this.#status();
    const content = JSON.stringify({
      ...status,
      conditions: status.conditions?.map(({ lastHeartbeatTime, ...rest }) => rest),
    });
    const due = clock.monotonic() - this.#writtenAt >= durationMs(configuration.nodeStatusReportFrequency);
    if (content !== this.#written || due) {
      try {
        this.#seen = await client.patch(
          resources.nodes,
          nodeName,
          { status },
          { type: 'strategic', subresource: 'status' },
        );
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
    this.#noteReady(status);
    this.#notePressures(status);
  }

  async #register(client: ApiClient): Promise<void> {
    const draft = this.#draft(this.#status());
    try {
      this.#seen = await client.create(resources.nodes, draft);
      this.#written = undefined;
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      const existing = await client.get(resources.nodes, draft.metadata.name);
      const labels = draft.metadata.labels!;
      const differs = Object.entries(labels).some(([key, value]) => existing.metadata.labels?.[key] !== value);
      this.#seen = differs
        ? await client.patch(resources.nodes, draft.metadata.name, { metadata: { labels } }, { type: 'merge' })
        : existing;
    }
  }

  /** Tells of changes of readiness by events, and once for all when the node is Ready for the first time. */
  #noteReady(status: NodeStatus): void {
    const ready = status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;
    if (ready === this.#wasReady) return;
    this.#wasReady = ready;
    const { nodeName } = this.#options.settings;
    const reason = ready ? 'NodeReady' : 'NodeNotReady';
    this.#options.events?.event(
      { kind: 'Node', name: nodeName, uid: nodeName },
      'Normal',
      reason,
      `Node ${nodeName} status is now: ${reason}`,
    );
    if (ready) this.#markReady();
  }

  /** Tells of what begins or ceases to run short. */
  #notePressures(status: NodeStatus): void {
    const { nodeName } = this.#options.settings;
    for (const type of nodePressures) {
      const is = status.conditions?.find((one) => one.type === type)?.status;
      if (is === undefined || this.#pressures.get(type) === is) continue;
      this.#pressures.set(type, is);
      const reason = pressureEvents[type][is === 'True' ? 1 : 0];
      const node = { kind: 'Node', name: nodeName, uid: nodeName };
      this.#options.events?.event(node, 'Normal', reason, `Node ${nodeName} status is now: ${reason}`);
    }
  }
}

/** The reason of the event when a node begins or ceases to run short of something. */
const pressureEvents: Record<NodePressure, readonly [none: string, some: string]> = {
  MemoryPressure: ['NodeHasSufficientMemory', 'NodeHasInsufficientMemory'],
  DiskPressure: ['NodeHasNoDiskPressure', 'NodeHasDiskPressure'],
  PIDPressure: ['NodeHasSufficientPID', 'NodeHasInsufficientPID'],
};

/** A time of the API: RFC 3339 in whole seconds. */
function apiTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
