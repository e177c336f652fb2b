import { chmod, mkdir } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { CgroupDriver } from '../api/cri/index.ts';
import type { Node } from '../api/index.ts';
import type { Clock, Component, StopOptions } from '../async/index.ts';
import type { ApiClient } from '../client/index.ts';
import { releaseInQuietMoments } from '../host/memory/index.ts';
import type { Level, Logger } from '../log/index.ts';
import { assemble, type Ground, kubeletVersion, type Parts } from './assemble.ts';
import { ServingTls } from './certificates/serving-tls.ts';
import { durationMs } from './config/duration.ts';
import { isFeatureOn } from './config/feature-gates.ts';
import { type KubeletConfig, type KubeletSettings, resolveSettings } from './config/settings.ts';
import { KubeletMetrics } from './metrics/kubelet-metrics.ts';
import { measureClient, measureRuntime } from './metrics/measure-calls.ts';
import { checkHost } from './node/host-checks.ts';
import { keepUtilityChains } from './node/utility-chains.ts';
import { rotateLogs } from './pods/log-rotation.ts';
import type { PodTimeline } from './pods/ports.ts';
import { connectRuntime, isUnavailable, type RuntimeClient } from './pods/runtime-client.ts';

import { type KubeletServer, startKubeletServer } from './server/index.ts';

/** What every component is given. */
export interface KubeletContext {
  log: Logger;
  clock: Clock;
  /** Changes how much is logged; missing where components share the log. */
  setLogLevel?(level: Level): void;
}

/** A running kubelet. */
export interface KubeletComponent extends Component {
  /** Where the time of each pod's start went, oldest first. */
  timelines(): PodTimeline[];
}

/** Grace of pods that are taken away with the kubelet, seconds. */
const removeGraceSeconds = 2;

/**
 * Starts a kubelet. It is ready when it serves, knows what its runtime has, and (with an API server) the node is Ready.
 * @throws ConfigurationError for a configuration that cannot be used
 */
export function startKubelet(config: KubeletConfig, context: KubeletContext): KubeletComponent {
  return new Kubelet(config, context);
}

class Kubelet implements KubeletComponent {
  readonly ready: Promise<void>;
  readonly #config: KubeletConfig;
  readonly #settings: KubeletSettings;
  readonly #context: KubeletContext;
  readonly #metrics = new KubeletMetrics();
  readonly #client: RuntimeClient;
  readonly #end = new AbortController();
  #parts: Parts | undefined;
  #server: KubeletServer | undefined;
  #stopping: Promise<void> | undefined;

  constructor(config: KubeletConfig, context: KubeletContext) {
    this.#config = config;
    this.#settings = resolveSettings(config);
    if (this.#settings.nodeIps.length === 0) this.#settings.nodeIps = [defaultAddress()];
    this.#context = context;
    const runtime = connectRuntime(this.#settings.runtimeEndpoint, this.#settings.imageEndpoint);
    this.#client = measureRuntime(runtime, this.#metrics, context.clock);
    if (config.client) measureClient(config.client, this.#metrics);
    this.ready = this.#start();
    this.ready.catch(() => {});
  }

  async #start(): Promise<void> {
    const { log, clock } = this.#context;
    const { rootDirectory, podLogsDirectory, containerLogsDirectory, nodeName } = this.#settings;
    checkHost(this.#settings.configuration, log);
    // What pods have been given is below: nothing of it is for others, whoever made the directory.
    for (const directory of [rootDirectory, `${rootDirectory}/pods`]) {
      await mkdir(directory, { recursive: true, mode: 0o750 });
      await chmod(directory, 0o750);
    }
    for (const directory of [podLogsDirectory, containerLogsDirectory]) {
      await mkdir(directory, { recursive: true, mode: 0o755 });
    }
    const { client, serving: given } = this.#config;
    const tls = this.#settings.configuration.enableServer
      ? await ServingTls.load({ settings: this.#settings, given, client, log, clock })
      : undefined;
    const runtime = await askRuntime(this.#client, this.#context, this.#end.signal);
    log.info('kubelet starts', { node: nodeName, runtime: runtime.name });
    const signal = this.#end.signal;
    const settings = this.#settings;
    const parts = assemble({
      settings,
      ...clientsOf(this.#config.client, settings),
      client: this.#client,
      metrics: this.#metrics,
      runtime,
      signal,
      log,
      clock,
    });
    this.#parts = parts;
    const serving = this.#serve(parts, tls);
    // Awaited below; a port that is taken is told there, and not as an error that nobody handled.
    serving.catch(() => {});
    keepChains(settings, { clock, log, signal });
    tls?.follow(() => addressesForCertificate(parts.node.node(), settings), signal);
    await parts.watch.start();
    signal.throwIfAborted();
    await parts.plugins.start();
    for (const companion of parts.companions) await companion.start();
    await parts.sources.start(signal);
    parts.housekeeping();
    void releaseInQuietMoments(clock, signal);
    void rotateLogs(
      {
        client: this.#client,
        cache: parts.cache,
        maximumSize: settings.configuration.containerLogMaxSize,
        maximumFiles: settings.configuration.containerLogMaxFiles,
        workers: Number(settings.configuration['containerLogMaxWorkers']),
        intervalMs: durationMs(settings.configuration.containerLogMonitorInterval),
        log,
        clock,
      },
      signal,
    );
    await serving;
    await Promise.race([parts.node.ready, aborted(signal)]);
  }

  async #serve(parts: Parts, tls: ServingTls | undefined): Promise<void> {
    const { log, clock } = this.#context;
    this.#server = await startKubeletServer({
      settings: this.#settings,
      client: this.#config.client,
      runtime: this.#client,
      cache: parts.cache,
      pods: parts.directory,
      statistics: parts.statistics,
      metrics: this.#metrics,
      version: kubeletVersion,
      ...(this.#context.setLogLevel ? { setLogLevel: this.#context.setLogLevel } : {}),
      tls: tls?.tls ?? {},
      onServer: (server) => tls?.attach(server),
      certificate: () => tls?.tls.cert,
      problem: () => (parts.cache.ageMs > 180_000 ? 'the view of the runtime is outdated' : undefined),
      log,
      clock,
    });
  }

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
      if (remove) await parts.manager.endAll(removeGraceSeconds);
      parts.probes.stop();
      parts.watch.stop();
      await parts.plugins.stop();
      for (const companion of parts.companions) await companion.stop();
      await parts.manager.stop();
      parts.status.stop();
      await parts.node.stop();
      await parts.volumes.stop?.();
    }
    this.#end.abort(new Error('kubelet stopped'));
    await this.ready.catch(() => {});
    await this.#server?.close();
    this.#client.close();
  }
}

/** The API server for most things, limited as the configuration says, and for signs of life and events. */
function clientsOf(client: ApiClient | undefined, { configuration }: KubeletSettings) {
  const { kubeAPIQPS, kubeAPIBurst } = configuration;
  const rate = { perSecond: kubeAPIQPS || 50, burst: kubeAPIBurst || 100 };
  return { api: client?.limited(rate), heartbeat: client };
}

/** The chains of iptables, if the configuration wants them. */
function keepChains(
  { configuration, nodeIps }: KubeletSettings,
  context: Parameters<typeof keepUtilityChains>[1],
): void {
  if (configuration['makeIPTablesUtilChains'] === false) return;
  const families = [...new Set(nodeIps.map((address) => (address.includes(':') ? 6 : 4)))];
  void keepUtilityChains(families, context);
}

/** The names that a certificate for the server of the node has to carry, once the node is registered. */
function addressesForCertificate(node: Node | undefined, { configuration }: KubeletSettings) {
  const addresses = node?.status?.addresses ?? [];
  const of = (...types: string[]) => [
    ...new Set(addresses.filter(({ type }) => types.includes(type)).map(({ address }) => address)),
  ];
  const ipAddresses = of('InternalIP', 'ExternalIP');
  const dnsNames = of('Hostname', 'InternalDNS', 'ExternalDNS');
  const isEnough = ipAddresses.length > 0 || isFeatureOn(configuration.featureGates, 'AllowDNSOnlyNodeCSR');
  return isEnough && dnsNames.length + ipAddresses.length > 0 ? { dnsNames, ipAddresses } : undefined;
}

/** Waits until the runtime answers, and asks what it is. */
async function askRuntime(
  client: RuntimeClient,
  { clock, log }: KubeletContext,
  signal: AbortSignal,
): Promise<Ground['runtime']> {
  for (let tries = 0; ; tries++) {
    try {
      const { runtimeName } = await client.runtime.version({}, { timeoutMs: 10_000, signal });
      return { name: runtimeName, cgroupDriver: await askDriver(client) };
    } catch (error) {
      signal.throwIfAborted();
      if (tries === 20) log.warn('the container runtime does not answer', { error });
      if (!isUnavailable(error) && tries === 0) log.warn('the container runtime refuses to say its version', { error });
      await clock.sleep(tries < 40 ? 25 : 1000, signal);
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

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

/** The first address of the machine that is not only its own; loopback when there is none. */
function defaultAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return all.find(({ internal, family }) => !internal && family === 'IPv4')?.address ?? '127.0.0.1';
}
