import type { ObjectReference } from '../api/index.ts';
import { type Clock, type Component, type StopOptions, unlessAborted } from '../async/index.ts';
import { type ApiClient, createEventRecorder, type EventRecorder } from '../client/index.ts';
import { releaseInQuietMoments } from '../host/memory/index.ts';
import type { Logger } from '../log/index.ts';
import type { HttpServer } from '../wire/http/index.ts';
import { backendOptions } from './backend-options.ts';
import { type Backend, type BackendOptions, proxyModes } from './backends/backend.ts';
import { createBackend } from './backends/create-backend.ts';
import { defaultSettings, type ProxySettings, splitBindAddress } from './configuration.ts';
import { ProxyError } from './errors.ts';
import { describeProxy } from './explain/describe-proxy.ts';
import { ProblemLog } from './explain/state.ts';
import { serveState } from './explain/state-server.ts';
import { FamilyProxy } from './family-proxy.ts';
import { createHealthServer, createStatusServer, ProxyHealth } from './health/health-server.ts';
import { createMetrics, type ProxyMetrics } from './health/metrics.ts';
import { ServiceHealthServers } from './health/service-health.ts';
import type { IpFamily } from './model/types.ts';
import { type NodeFacts, type NodeSource, unknownNode, watchNode } from './node-facts.ts';
import { ServiceRoutes } from './node-network.ts';
import { applySysctls, setSysctl, wantedSysctls } from './node-settings.ts';
import { ProxyEngine } from './proxy-engine.ts';
import { type ServiceSource, watchServices } from './service-source.ts';

/** What a proxy is started with: settings as in upstream's configuration file, and where Services come from. */
export interface ProxyConfig extends Partial<ProxySettings> {
  /** The API server. Not needed when `source` and `node` are given. */
  client?: ApiClient;
  nodeName: string;
  /** Default: 4 and, where the kernel can, 6. */
  families?: readonly IpFamily[];
  /** Services from somewhere else than the API server. */
  source?: ServiceSource;
  /** The Node object from somewhere else. */
  node?: NodeSource;
}

/** A running proxy. */
export interface Proxy extends Component {
  /** Resolves when everything known so far is in the kernel. */
  idle(): Promise<void>;
}

/**
 * Starts a proxy for Services: watches them, writes nothing before all are known, takes over the rules that are there,
 * and then follows every change. `stop()` leaves the rules serving; `stop({ remove: true })` takes away all of them.
 */
export function startProxy(config: ProxyConfig, context: { log: Logger; clock: Clock }): Proxy {
  const proxy = new RunningProxy(config, context);
  const ready = proxy.start();
  ready.catch(() => {});
  return { ready, stop: (options) => proxy.stop(options), idle: () => proxy.idle() };
}

class RunningProxy {
  readonly #config: ProxyConfig & ProxySettings;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #metrics: ProxyMetrics = createMetrics();
  readonly #health: ProxyHealth;
  readonly #events: EventRecorder | undefined;
  readonly #servers: HttpServer[] = [];
  readonly #problems = new ProblemLog();
  readonly #abort = new AbortController();
  #families: FamilyProxy[] = [];
  #engine: ProxyEngine | undefined;
  #node: NodeFacts = unknownNode;
  #nodeSource: NodeSource | undefined;
  #onNode: (() => void) | undefined;
  #serviceHealth: ServiceHealthServers | undefined;
  #routes: ServiceRoutes | undefined;
  #started: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;

  constructor(config: ProxyConfig, { log, clock }: { log: Logger; clock: Clock }) {
    this.#config = { ...defaultSettings, ...config };
    this.#log = log;
    this.#clock = clock;
    this.#health = new ProxyHealth({
      clock,
      toleranceMs: this.#config.syncPeriodMs * 2,
      nodeEligible: () => this.#node.eligible,
    });
    this.#events =
      config.client &&
      createEventRecorder(config.client, { component: 'kube-proxy', host: config.nodeName, log, clock });
  }

  start(): Promise<void> {
    this.#started = this.#start();
    return this.#started;
  }
  async idle(): Promise<void> {
    await this.#started;
    await this.#engine?.idle();
    await this.#serviceHealth?.settled();
  }
  stop(options: StopOptions = {}): Promise<void> {
    this.#stopped ??= this.#stop(options);
    return this.#stopped;
  }

  async #start(): Promise<void> {
    const { client, nodeName, mode } = this.#config;
    const context = { log: this.#log, clock: this.#clock };
    const source = this.#config.source ?? watchServices(this.#needClient(client), context);
    this.#nodeSource = this.#config.node ?? (client && watchNode(client, nodeName, context));
    await this.#listen();
    await this.#applySysctls();
    const nodeKnown = this.#followNode();
    this.#serviceHealth = this.#makeServiceHealth();
    if (this.#config.serviceRoutes) this.#routes = new ServiceRoutes();
    await nodeKnown;
    await this.#makeFamilies();
    await this.#tellState();
    this.#engine = this.#makeEngine(source);
    this.#events?.event(this.#nodeReference(), 'Normal', 'Starting', '');
    await this.#engine.start(this.#abort.signal);
    this.#health.serves();
    this.#onNode = () => void this.#applyNode();
    this.#watchKernel();
    void releaseInQuietMoments(this.#clock, this.#abort.signal);
    for (const other of proxyModes) if (other !== mode) void this.#removeOtherMode(other);
  }

  #needClient(client: ApiClient | undefined): ApiClient {
    if (client) return client;
    throw new ProxyError('INVALID_CONFIGURATION', 'proxy', 'needs a client or a source of Services');
  }

  /** A parameter that cannot be set is told, and the proxy goes on: rules matter more (see prepareNode). */
  async #applySysctls(): Promise<void> {
    for (const { sysctl, error } of await applySysctls(await wantedSysctls(this.#config)))
      this.#log.warn('kernel parameter not set', { ...sysctl, error });
  }

  /** Opens the health and status servers; a taken port is logged, or ends the start when asked to. */
  async #listen(): Promise<void> {
    const status = () =>
      createStatusServer({
        health: this.#health,
        metrics: this.#metrics,
        mode: this.#config.mode,
        configuration: () => ({ ...this.#config, client: undefined, source: undefined, node: undefined }),
        beforeMetrics: () => this.#countForMetrics(),
      });
    for (const [address, make] of [
      [this.#config.healthzBindAddress, () => createHealthServer(this.#health, this.#metrics)],
      [this.#config.metricsBindAddress, status],
    ] as const) {
      if (address === '') continue;
      const where = splitBindAddress(address);
      if (!where) throw new ProxyError('INVALID_CONFIGURATION', address, 'is not an address with a port');
      const server = make();
      try {
        await server.listen(where);
        this.#servers.push(server);
      } catch (cause) {
        if (this.#config.bindAddressHardFail)
          throw new ProxyError('PORT_TAKEN', address, 'cannot be listened on', { cause });
        this.#log.error('cannot serve', { address, error: cause });
      }
    }
  }

  /** Follows the Node object. Resolves when it is known, and has pod ranges if those are needed (five minutes at most). */
  async #followNode(): Promise<void> {
    const source = this.#nodeSource;
    if (!source) return;
    source.start((facts) => {
      const before = this.#node;
      this.#node = facts;
      // Heartbeats change the object all the time; only this matters here.
      const same =
        facts.zone === before.zone &&
        `${facts.addresses} ${facts.podCidrs}` === `${before.addresses} ${before.podCidrs}`;
      if (!same) this.#onNode?.();
    });
    await unlessAborted(source.synced, this.#abort.signal);
    if (this.#config.detectLocal.kind !== 'node-cidr') return;
    const end = this.#clock.monotonic() + 5 * 60_000;
    while (this.#node.podCidrs.length === 0) {
      if (this.#clock.monotonic() > end)
        throw new ProxyError('NODE_NOT_FOUND', this.#config.nodeName, 'got no pod ranges within five minutes');
      await this.#clock.sleep(100, this.#abort.signal);
    }
  }

  #makeServiceHealth(): ServiceHealthServers {
    return new ServiceHealthServers({
      hosts: ['0.0.0.0'],
      isHealthy: () => this.#health.healthy,
      log: this.#log,
      onFailure: ({ service, port }, error) =>
        this.#onProblem(service, 'FailedToStartServiceHealthcheck', `port ${port}: ${(error as Error).message}`),
    });
  }

  async #makeFamilies(): Promise<void> {
    const wanted = this.#config.families;
    for (const family of wanted ?? ([4, 6] as const)) {
      try {
        const backend = await this.#makeBackend(family);
        this.#families.push(new FamilyProxy({ family, backend, clock: this.#clock, log: this.#log }));
      } catch (error) {
        if (wanted || family === 4) throw error;
        this.#log.info('no proxy for this family', { family, error });
      }
    }
  }
  async #makeBackend(family: IpFamily): Promise<Backend> {
    if (family === 4 && this.#config.localhostNodePorts)
      await setSysctl('/proc/sys/net/ipv4/conf/all/route_localnet', '1', this.#log);
    return createBackend(this.#config.mode, this.#backendOptions(family), { clock: this.#clock, log: this.#log });
  }
  #backendOptions(family: IpFamily): BackendOptions {
    return backendOptions(this.#config, this.#node, family);
  }

  /** What `deckhand proxy explain`, `trace` and `status` ask. */
  async #tellState(): Promise<void> {
    const server = await serveState(
      describeProxy({
        mode: () => this.#config.mode,
        nodeName: this.#config.nodeName,
        startedAt: this.#clock.now(),
        families: () => this.#families,
        options: (family) => this.#backendOptions(family),
        metrics: this.#metrics,
        problems: this.#problems,
      }),
      this.#log,
    );
    if (server) this.#servers.push(server);
  }

  #makeEngine(source: ServiceSource): ProxyEngine {
    return new ProxyEngine({
      source,
      families: this.#families,
      topology: () => ({ nodeName: this.#config.nodeName, zone: this.#node.zone }),
      metrics: this.#metrics,
      health: this.#health,
      serviceHealth: this.#serviceHealth!,
      routes: this.#routes,
      clock: this.#clock,
      log: this.#log,
      minimumPauseMs: this.#config.minSyncPeriodMs ?? 0,
      onProblem: (service, reason, message) => this.#onProblem(service, reason, message),
    });
  }

  /** The Node object changed: its zone, ranges or addresses take effect without a restart. */
  async #applyNode(): Promise<void> {
    if (this.#abort.signal.aborted) return;
    try {
      const backends = new Map<IpFamily, Backend>();
      for (const { family } of this.#families) backends.set(family, await this.#makeBackend(family));
      this.#engine?.replanAll(backends);
    } catch (error) {
      this.#log.error('node change not applied', { error });
    }
  }

  /** From time to time: has anybody else changed the rules? */
  #watchKernel(): void {
    this.#clock.after(this.#config.syncPeriodMs, () => {
      if (this.#abort.signal.aborted) return;
      void this.#compareIfChanged().finally(() => this.#watchKernel());
    });
  }
  async #compareIfChanged(): Promise<void> {
    try {
      this.#routes?.refresh();
      await this.#engine?.checkKernel();
    } catch (error) {
      this.#log.warn('cannot look at the rules', { error });
    }
  }

  #countForMetrics(): void {
    for (const { family, plans, pending } of this.#families) {
      const label = { ip_family: `IPv${family}` };
      let internal = 0;
      let external = 0;
      for (const plan of plans.plans()) {
        if (plan.local.length > 0 || plan.cluster.length === 0) continue;
        if (plan.frontends.some((one) => one.kind === 'cluster-ip' && one.policy === 'local')) internal++;
        if (plan.frontends.some((one) => one.kind !== 'cluster-ip' && one.policy === 'local')) external++;
      }
      this.#metrics.noLocalEndpoints.set({ ...label, traffic_policy: 'internal' }, internal);
      this.#metrics.noLocalEndpoints.set({ ...label, traffic_policy: 'external' }, external);
      this.#metrics.serviceChangesPending.set(label, pending);
      this.#metrics.endpointChangesPending.set(label, pending);
    }
  }

  /** Rules of the other mode go once ours are in place: no moment without any. */
  async #removeOtherMode(mode: Backend['mode']): Promise<void> {
    for (const { family } of this.#families) {
      let backend: Backend | undefined;
      try {
        backend = await createBackend(mode, this.#backendOptions(family), { clock: this.#clock, log: this.#log });
        await backend.remove();
      } catch (error) {
        this.#log.debug('nothing of the other mode to remove', { mode, family, error });
      } finally {
        backend?.close();
      }
    }
  }

  #onProblem(service: string, reason: string, message: string): void {
    this.#problems.add(service, reason, message, this.#clock.now());
    const [namespace = '', name = ''] = service.split('/');
    const about = this.#config.source ? undefined : { apiVersion: 'v1', kind: 'Service', namespace, name };
    if (about) this.#events?.event(about, 'Warning', reason, message);
  }
  #nodeReference(): ObjectReference {
    return { kind: 'Node', name: this.#config.nodeName, uid: this.#config.nodeName };
  }

  async #stop({ remove }: StopOptions): Promise<void> {
    this.#abort.abort(new Error('proxy stopped'));
    this.#nodeSource?.stop();
    await this.#started?.catch(() => {});
    await this.#engine?.stop();
    await this.#serviceHealth?.close();
    for (const server of this.#servers) await server.close();
    for (const { backend } of this.#families) {
      if (remove) await backend.remove();
      backend.close();
    }
    if (remove) this.#routes?.retain(new Set());
    this.#routes?.close();
    await this.#events?.flush();
  }
}
