import { mkdir } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { CgroupDriver } from '../api/cri/index.ts';
import { quantityMilli, quantityValue } from '../api/index.ts';
import { Backoff, type Clock, type Component, type StopOptions } from '../async/index.ts';
import { createEventRecorder } from '../client/index.ts';
import type { Logger } from '../log/index.ts';
import { admitPod } from './admission/admit-pod.ts';
import { type KubeletConfig, type KubeletSettings, resolveSettings } from './config/settings.ts';
import { ImagePuller } from './images/image-puller.ts';
import { startNodeReporter } from './node/index.ts';
import { KubeletPodDirectory } from './pods/pod-directory.ts';
import { PodEvents } from './pods/pod-events.ts';
import { PodManager } from './pods/pod-manager.ts';
import type { NodeReporter, PodTimeline } from './pods/ports.ts';
import { RuntimeCache } from './pods/runtime-cache.ts';
import { connectRuntime, isUnavailable, type RuntimeClient } from './pods/runtime-client.ts';
import { RuntimeWatch } from './pods/runtime-watch.ts';
import { Timelines } from './pods/timeline.ts';
import { ProbeManager } from './probes/probe-manager.ts';
import { createPodCgroups, readMachineCapacity } from './resources/index.ts';
import { createObjectReader } from './sources/object-reader.ts';
import { PodSources } from './sources/pod-sources.ts';
import { StatusWriter } from './status/status-writer.ts';
import { createPodVolumes } from './volumes/index.ts';

/** The version of Kubernetes whose behaviour this kubelet has. */
export const kubeletVersion = 'v1.36.2';

/** What every component is given. */
export interface KubeletContext {
  log: Logger;
  clock: Clock;
}

/** Starts a kubelet. @throws ConfigurationError for a configuration that cannot be used */
export function startKubelet(config: KubeletConfig, context: KubeletContext): KubeletComponent {
  return new Kubelet(config, context);
}

/** A running kubelet. */
export interface KubeletComponent extends Component {
  /** Where the time of each pod's start went, oldest first. */
  timelines(): PodTimeline[];
}

class Kubelet implements KubeletComponent {
  readonly ready: Promise<void>;
  readonly #config: KubeletConfig;
  readonly #settings: KubeletSettings;
  readonly #context: KubeletContext;
  readonly #client: RuntimeClient;
  readonly #end = new AbortController();
  #parts: Awaited<ReturnType<typeof assemble>> | undefined;
  #stopping: Promise<void> | undefined;

  constructor(config: KubeletConfig, context: KubeletContext) {
    this.#config = config;
    this.#settings = resolveSettings(config);
    if (this.#settings.nodeIps.length === 0) this.#settings.nodeIps = [defaultAddress()];
    this.#context = context;
    this.#client = connectRuntime(this.#settings.runtimeEndpoint, this.#settings.imageEndpoint);
    this.ready = this.#start();
  }

  async #start(): Promise<void> {
    const { rootDirectory, podLogsDirectory, containerLogsDirectory } = this.#settings;
    await mkdir(rootDirectory, { recursive: true, mode: 0o750 });
    for (const directory of [`${rootDirectory}/pods`, podLogsDirectory, containerLogsDirectory]) {
      await mkdir(directory, { recursive: true, mode: 0o755 });
    }
    const runtime = await askRuntime(this.#client, this.#context, this.#end.signal);
    const { configuration } = this.#settings;
    this.#parts = assemble(this.#config, this.#settings, this.#context, this.#client, runtime, this.#end.signal);
    const { watch, sources, node } = this.#parts;
    this.#context.log.info('kubelet starts', {
      node: this.#settings.nodeName,
      runtime: runtime.name,
      driver: configuration.cgroupDriver,
    });
    await watch.start();
    await sources.start(this.#end.signal);
    await node.ready;
  }

  /** Where the time of each pod's start went, oldest first. */
  timelines(): PodTimeline[] {
    return this.#parts?.directory.timelines() ?? [];
  }

  stop(options: StopOptions = {}): Promise<void> {
    this.#stopping ??= this.#stop(options);
    return this.#stopping;
  }

  async #stop({ remove }: StopOptions): Promise<void> {
    const parts = this.#parts;
    if (parts) {
      await parts.sources.stop();
      if (remove) await parts.manager.endAll(2);
      parts.probes.stop();
      parts.watch.stop();
      await parts.manager.stop();
      parts.status.stop();
      await parts.node.stop();
      await parts.volumes.stop?.();
    }
    this.#end.abort(new Error('kubelet stopped'));
    await this.ready.catch(() => {});
    this.#client.close();
  }
}

/** What the runtime says about itself. */
interface RuntimeIdentity {
  name: string;
  cgroupDriver: 'cgroupfs' | 'systemd' | undefined;
}

/** Waits until the runtime answers, and asks what it is. */
async function askRuntime(
  client: RuntimeClient,
  { clock, log }: KubeletContext,
  signal: AbortSignal,
): Promise<RuntimeIdentity> {
  for (let tries = 0; ; tries++) {
    try {
      const { runtimeName } = await client.runtime.version({}, { timeoutMs: 10_000, signal });
      return { name: runtimeName, cgroupDriver: await askDriver(client) };
    } catch (error) {
      signal.throwIfAborted();
      if (tries === 20) log.warn('the container runtime does not answer', { error });
      if (!isUnavailable(error) && tries === 0) log.warn('the container runtime refuses to say its version', { error });
      await clock.sleep(tries < 40 ? 50 : 1000, signal);
    }
  }
}

async function askDriver(client: RuntimeClient): Promise<'cgroupfs' | 'systemd' | undefined> {
  try {
    const { linux } = await client.runtime.runtimeConfig({}, { timeoutMs: 10_000 });
    if (linux) return linux.cgroupDriver === CgroupDriver.SYSTEMD ? 'systemd' : 'cgroupfs';
  } catch {
    // Older runtimes do not tell: the configuration has to.
  }
  return undefined;
}

/** Puts the parts together; none has begun to work but the node reporter. */
function assemble(
  config: KubeletConfig,
  settings: KubeletSettings,
  { log, clock }: KubeletContext,
  client: RuntimeClient,
  runtime: RuntimeIdentity,
  signal: AbortSignal,
) {
  const api = config.client;
  const { configuration } = settings;
  const recorder = api
    ? createEventRecorder(api, { component: 'kubelet', host: settings.nodeName, log, clock })
    : undefined;
  const events = new PodEvents(recorder, log);
  const capacity = readMachineCapacity(settings.rootDirectory);
  const cache: RuntimeCache = new RuntimeCache(client, clock, (uid, container) =>
    manager.runtimeChanged(uid, container),
  );
  const watch = new RuntimeWatch({ client, cache, clock, log, onRelist: () => housekeeping() });
  const node: NodeReporter = startNodeReporter({
    settings,
    client: api,
    runtime: client,
    capacity,
    inputs: {
      podLifecycleProblem: () =>
        cache.ageMs > 180_000
          ? `PLEG is not healthy: pleg was last seen active ${Math.round(cache.ageMs / 1000)}s ago; threshold is 3m0s`
          : undefined,
      volumesInUse: () => [],
    },
    events: recorder,
    kubeletVersion,
    log,
    clock,
  });
  const volumes = createPodVolumes({ root: settings.rootDirectory, client: api, node: () => node.node(), log, clock });
  const allocatable = (node.node()?.status?.allocatable ?? {}) as Record<string, string>;
  const cgroups = createPodCgroups({
    cgroupRoot: configuration.cgroupRoot || '/',
    driver: runtime.cgroupDriver ?? (configuration.cgroupDriver as 'cgroupfs' | 'systemd'),
    cpuQuota: configuration.cpuCFSQuota,
    cpuQuotaPeriodUs: settings.cpuQuotaPeriodUs,
    podPidsLimit: configuration.podPidsLimit,
    allocatable: {
      cpuMilli: quantityMilli(allocatable['cpu'] ?? `${capacity.cpuMilli}m`),
      memoryBytes: quantityValue(allocatable['memory'] ?? String(capacity.memoryBytes)),
    },
    log,
    clock,
  });
  const objects = createObjectReader(api, { clock, log, signal });
  const probes: ProbeManager = new ProbeManager({
    client,
    cache: () => cache,
    events,
    clock,
    hostIps: () => node.hostIps(),
    onChange: (uid) => manager.runtimeChanged(uid),
  });
  const timelines = new Timelines(clock);
  const status = new StatusWriter({ client: api, clock, log });
  const images = new ImagePuller({
    client,
    clock,
    events,
    ...(configuration.serializeImagePulls
      ? { maximumParallel: 1 }
      : configuration.maxParallelImagePulls
        ? { maximumParallel: configuration.maxParallelImagePulls }
        : {}),
    pullsPerSecond: configuration.registryPullQPS,
    burst: configuration.registryBurst,
    rootDirectory: settings.rootDirectory,
    secret: objects.secret,
  });
  const manager: PodManager = new PodManager({
    kit: {
      settings,
      client,
      cache,
      volumes,
      cgroups,
      node,
      images,
      objects,
      probes,
      events,
      timelines,
      memoryCapacity: capacity.memoryBytes,
      crashBackoff: new Backoff(
        {
          initialMs: Math.min(10_000, settings.crashLoopMaximumMs),
          maximumMs: settings.crashLoopMaximumMs,
          resetAfterMs: 600_000,
        },
        clock,
      ),
      retryBackoff: new Backoff({ initialMs: 500, maximumMs: 15_000 }, clock),
      log,
      clock,
    },
    client: api,
    status,
    admit: (pod, others) =>
      admitPod(pod, others, {
        node: node.node(),
        maxPods: configuration.maxPods,
        allowedUnsafeSysctls: configuration.allowedUnsafeSysctls,
      }),
    runtimeName: () => runtime.name,
    onContainer: (uid) => directory.changed(uid),
    onForgotten: (name) => sources.podForgotten(name),
  });
  const directory: KubeletPodDirectory = new KubeletPodDirectory({
    settings,
    cache,
    records: () => manager.records(),
    timelines: () => timelines.list(),
    probeCounts: () => probes.counts(),
  });
  const sources: PodSources = new PodSources({
    settings,
    client: api,
    manager,
    status,
    nodeUid: () => node.node()?.metadata.uid,
    clock,
    log,
  });
  const housekeeping = (): void => {
    if (!sources.isReady) return;
    manager.removeOrphans();
    const known = new Set([...manager.records().map(({ pod }) => pod.metadata.uid), ...cache.podUids()]);
    void Promise.all([volumes.collect(known), cgroups.collect(known)]).catch((error: unknown) => {
      log.warn('cannot clean up after pods that have gone', { error });
    });
  };
  return { watch, sources, node, manager, probes, status, volumes, directory, housekeeping };
}

/** The first address of the machine that is not only its own; loopback when there is none. */
function defaultAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return all.find(({ internal, family }) => !internal && family === 'IPv4')?.address ?? '127.0.0.1';
}
