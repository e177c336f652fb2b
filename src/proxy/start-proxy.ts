import { Backoff, type Clock, type Component, type StopOptions } from '../async/index.ts';
import { followFiles } from '../host/files/index.ts';
import { releaseInQuietMoments } from '../host/memory/index.ts';
import type { Logger } from '../log/index.ts';
import type { HttpServer } from '../wire/http/index.ts';
import { backendOptions } from './backend-options.ts';
import type { Backend, BackendOptions } from './backends/backend.ts';
import { createBackend } from './backends/create-backend.ts';
import { defaultSettings, type ProxySettings } from './configuration.ts';
import { ProxyError } from './errors.ts';
import { describeProxy } from './explain/describe-proxy.ts';
import { serveState } from './explain/state-server.ts';
import { FamilyProxy } from './family-proxy.ts';
import { countPlans } from './health/count-plans.ts';
import { createMetrics, type ProxyMetrics } from './health/metrics.ts';
import { addProcessMetrics, measureClient } from './health/process-metrics.ts';
import { ProxyHealth } from './health/proxy-health.ts';
import { ServiceHealthServers } from './health/service-health.ts';
import { ClusterFacts } from './live/cluster-facts.ts';
import { removeLeftovers } from './live/leftovers.ts';
import { type LinkChange, NodeLinks } from './live/node-links.ts';
import { nodePortHosts } from './live/node-port-hosts.ts';
import { ProxyServers } from './live/proxy-servers.ts';
import { Repeater } from './live/repeater.ts';
import { Reporter } from './live/reporter.ts';
import { watchServiceCidrs } from './live/service-cidrs.ts';
import type { IpFamily } from './model/types.ts';
import { watchNode } from './node-facts.ts';
import { ServiceRoutes } from './node-network.ts';
import { applySysctls, wantedSysctls } from './node-settings.ts';
import { type NextConfiguration, type ProxyConfig, pickSettings } from './proxy-config.ts';
import { ProxyEngine } from './proxy-engine.ts';
import { type ServiceSource, watchServices } from './service-source.ts';

/** How long the configuration file must be left alone before it is read again, milliseconds. */
const settleMs = 100;

/** A running proxy. */
export interface Proxy extends Component {
  /** Resolves when everything known so far is in the kernel. */
  idle(): Promise<void>;
  /** Reads the configuration again. @throws what is wrong with it: what was in effect stays */
  reload(): Promise<void>;
  /** Takes over other settings. @throws what is wrong with them: those in effect stay */
  reconfigure(changes: Partial<ProxySettings> & { nodeName?: string }): Promise<void>;
}

/**
 * Starts a proxy for Services: watches them, writes nothing before all are known, takes over the rules that are there,
 * and then follows every change, also of its configuration, its node and the cluster's ranges. `stop()` leaves the rules
 * serving; `stop({ remove: true })` takes away all of them.
 */
export function startProxy(config: ProxyConfig, context: { log: Logger; clock: Clock }): Proxy {
  const proxy = new RunningProxy(config, context);
  const ready = proxy.start();
  ready.catch(() => {});
  return {
    ready,
    stop: (options) => proxy.stop(options),
    idle: () => proxy.idle(),
    reload: () => proxy.reload(),
    reconfigure: (changes) => proxy.reconfigure(changes),
  };
}

class RunningProxy {
  readonly #config: ProxyConfig;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #metrics: ProxyMetrics = createMetrics();
  readonly #health: ProxyHealth;
  readonly #report: Reporter;
  readonly #looks: Repeater;
  readonly #resyncs: Repeater;
  readonly #abort = new AbortController();
  readonly #facts: ClusterFacts;
  readonly #servers: ProxyServers;
  readonly #backoff: Backoff;
  #settings: ProxySettings;
  #document: unknown;
  #families: FamilyProxy[] = [];
  #engine: ProxyEngine | undefined;
  #serviceHealth: ServiceHealthServers | undefined;
  #routes: ServiceRoutes | undefined;
  #links: NodeLinks | undefined;
  #stateServer: HttpServer | undefined;
  /** What the rules now in the kernel were made with, and for which place. */
  #applied = '';
  #place = '';
  #started: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;
  /** Changes of the configuration and of facts, one after another. */
  #turn: Promise<void> = Promise.resolve();

  constructor(config: ProxyConfig, context: { log: Logger; clock: Clock }) {
    const { log, clock } = context;
    this.#config = config;
    this.#settings = { ...defaultSettings, ...pickSettings(config) };
    this.#document = config.document ?? this.#settings;
    this.#log = log;
    this.#clock = clock;
    this.#backoff = new Backoff({ initialMs: 100, maximumMs: 30_000 }, clock);
    const { client, nodeName } = config;
    this.#health = new ProxyHealth({
      clock,
      toleranceMs: () => this.#settings.syncPeriodMs * 2,
      nodeEligible: () => this.#facts.node.eligible,
    });
    if (client) measureClient(client, this.#metrics, log);
    addProcessMetrics(this.#metrics, () => this.#settings.featureGates);
    this.#facts = new ClusterFacts({
      ...context,
      watchNode: (name) => config.node ?? (client && watchNode(client, name, context)),
      serviceCidrs: config.serviceCidrs ?? (client && watchServiceCidrs(client, context)),
      onChange: () => this.#factsChanged(),
    });
    const current = () => this.#facts.nodeName || nodeName;
    this.#report = new Reporter(client, current, { ...context, metrics: this.#metrics });
    this.#looks = new Repeater(
      clock,
      () => this.#settings.syncPeriodMs,
      () => this.#compareIfChanged(),
    );
    this.#resyncs = new Repeater(
      clock,
      () => this.#settings.configSyncPeriodMs,
      async () => this.#engine?.replanAll(),
    );
    this.#servers = new ProxyServers({
      ...context,
      health: this.#health,
      metrics: this.#metrics,
      settings: () => this.#settings,
      document: () => this.#document,
      flags: config.flags ?? {},
      beforeMetrics: () =>
        countPlans(this.#metrics, this.#families, this.#engine?.waiting ?? { service: 0, endpoints: 0 }),
      ...(config.setLogLevel ? { setLogLevel: config.setLogLevel } : {}),
      onFailure: (reason, message) => this.#report.node('Warning', reason, message),
    });
  }

  start(): Promise<void> {
    this.#started = this.#start();
    return this.#started;
  }
  async idle(): Promise<void> {
    await this.#started;
    await this.#turn;
    await this.#engine?.idle();
    await this.#serviceHealth?.settled();
  }
  stop(options: StopOptions = {}): Promise<void> {
    this.#stopped ??= this.#stop(options);
    return this.#stopped;
  }
  reload(): Promise<void> {
    const { live } = this.#config;
    return live ? this.#change(() => live.load()) : Promise.resolve();
  }
  reconfigure({ nodeName, ...changes }: Partial<ProxySettings> & { nodeName?: string }): Promise<void> {
    return this.#change(async () => {
      const settings = { ...this.#settings, ...changes };
      return { settings, nodeName: nodeName ?? this.#facts.nodeName, document: settings };
    });
  }

  async #start(): Promise<void> {
    const context = { log: this.#log, clock: this.#clock };
    const { client } = this.#config;
    const source = this.#config.source ?? (client && watchServices(client, context));
    if (!source) throw new ProxyError('INVALID_CONFIGURATION', 'proxy', 'needs a client or a source of Services');
    await this.#servers.open(this.#settings);
    await this.#applySysctls();
    this.#serviceHealth = this.#makeServiceHealth();
    if (this.#settings.serviceRoutes) this.#routes = new ServiceRoutes();
    this.#links = new NodeLinks((change) => this.#linksChanged(change), context);
    await this.#facts.start(this.#config.nodeName, this.#abort.signal);
    await this.#makeFamilies();
    await this.#tellState();
    this.#engine = this.#makeEngine(source);
    this.#report.node('Normal', 'Starting', '');
    await this.#engine.start(this.#abort.signal);
    this.#health.serves();
    this.#followConfiguration();
    this.#looks.restart();
    this.#resyncs.restart();
    void releaseInQuietMoments(this.#clock, this.#abort.signal);
    void this.#removeLeftovers();
    this.#factsChanged();
  }

  /** A parameter that cannot be set is told, and the proxy goes on: rules matter more (see prepareNode). */
  async #applySysctls(): Promise<void> {
    for (const { sysctl, error } of await applySysctls(await wantedSysctls(this.#settings)))
      this.#log.warn('kernel parameter not set', { ...sysctl, error });
  }

  #makeServiceHealth(): ServiceHealthServers {
    return new ServiceHealthServers({
      hosts: (family) => nodePortHosts(this.#settings, this.#facts.node, family, () => this.#links!.addresses()),
      isHealthy: () => this.#health.healthy,
      log: this.#log,
      onFailure: ({ service, port }, error) =>
        this.#report.service(service, 'FailedToStartServiceHealthcheck', `port ${port}: ${(error as Error).message}`),
    });
  }

  async #makeFamilies(): Promise<void> {
    const wanted = this.#config.families;
    for (const family of wanted ?? ([4, 6] as const)) {
      try {
        const backend = await this.#makeBackend(this.#settings, family);
        this.#families.push(new FamilyProxy({ family, backend, clock: this.#clock, log: this.#log }));
      } catch (error) {
        if (wanted || family === 4) throw error;
        this.#log.info('no proxy for this family', { family, error });
      }
    }
    this.#applied = this.#wanted(this.#settings);
    this.#place = this.#placeOf(this.#settings);
  }
  #makeBackend(settings: ProxySettings, family: IpFamily): Promise<Backend> {
    return createBackend(settings.mode, this.#backendOptions(settings, family), { clock: this.#clock, log: this.#log });
  }
  #backendOptions(settings: ProxySettings, family: IpFamily): BackendOptions {
    return backendOptions(settings, this.#facts.node, family, this.#facts.serviceCidrs);
  }

  /** What `deckhand proxy explain`, `trace` and `status` ask. */
  async #tellState(): Promise<void> {
    const source = describeProxy({
      mode: () => this.#settings.mode,
      nodeName: this.#config.nodeName,
      startedAt: this.#clock.now(),
      families: () => this.#families,
      options: (family) => this.#backendOptions(this.#settings, family),
      metrics: this.#metrics,
      problems: this.#report.problems,
    });
    this.#stateServer = await serveState(source, this.#log);
  }

  #makeEngine(source: ServiceSource): ProxyEngine {
    return new ProxyEngine({
      source,
      families: this.#families,
      topology: () => ({ nodeName: this.#facts.nodeName, zone: this.#facts.node.zone }),
      settings: () => this.#settings,
      metrics: this.#metrics,
      health: this.#health,
      serviceHealth: this.#serviceHealth!,
      routes: this.#routes,
      clock: this.#clock,
      log: this.#log,
      onProblem: (service, reason, message) => this.#report.service(service, reason, message),
    });
  }

  #followConfiguration(): void {
    const { live } = this.#config;
    if (!live || live.files.length === 0) return;
    // A refusal has been told already, loudly.
    const again = () => this.reload().catch(() => {});
    const options = { what: 'configuration', clock: this.#clock, log: this.#log, signal: this.#abort.signal };
    void followFiles(live.files, again, { ...options, settleMs });
  }

  /** Takes over another configuration, in the order in which they came. */
  #change(load: () => Promise<NextConfiguration>): Promise<void> {
    return this.#queue(async () => {
      try {
        const next = await load();
        await next.apply?.();
        await this.#take(next);
        this.#report.configuration();
      } catch (error) {
        this.#report.configuration(error);
        throw error;
      }
    });
  }
  #queue(work: () => Promise<void>): Promise<void> {
    const next = this.#turn.then(async () => {
      await this.#started;
      if (!this.#abort.signal.aborted) await work();
    });
    this.#turn = next.catch(() => {});
    return next;
  }

  /** First what can be refused: rules. Then everything else, which cannot. */
  async #take({ settings, nodeName, document }: NextConfiguration): Promise<void> {
    await this.#writeRules(settings);
    const before = this.#settings;
    this.#settings = settings;
    this.#document = document;
    void this.#facts.follow(nodeName);
    this.#planIfMoved();
    await this.#servers.move(settings);
    await this.#applySysctls();
    this.#serviceHealth?.refresh();
    if (before.syncPeriodMs !== settings.syncPeriodMs) this.#looks.restart();
    if (before.configSyncPeriodMs !== settings.configSyncPeriodMs) this.#resyncs.restart();
  }
  /** Makes the kernel's rules follow these settings and the facts of now. @throws when it cannot; the rules stay */
  async #writeRules(settings: ProxySettings): Promise<void> {
    const wanted = this.#wanted(settings);
    if (wanted === this.#applied) return;
    const next = new Map<IpFamily, Backend>();
    try {
      for (const { family } of this.#families) next.set(family, await this.#makeBackend(settings, family));
    } catch (error) {
      for (const backend of next.values()) backend.close();
      throw error;
    }
    await this.#engine!.handOver(next);
    this.#applied = wanted;
  }
  #wanted(settings: ProxySettings): string {
    return JSON.stringify([settings.mode, this.#families.map(({ family }) => this.#backendOptions(settings, family))]);
  }
  #placeOf({ featureGates }: ProxySettings): string {
    return JSON.stringify([this.#facts.nodeName, this.#facts.node.zone, featureGates]);
  }
  #planIfMoved(): void {
    const place = this.#placeOf(this.#settings);
    if (place !== this.#place) this.#engine?.replanAll();
    this.#place = place;
  }

  /** The Node object or the ranges of the cluster changed; what fails is tried again, from 100 ms on. */
  #factsChanged(): void {
    if (!this.#engine || this.#abort.signal.aborted) return;
    void this.#queue(async () => {
      this.#planIfMoved();
      this.#serviceHealth?.refresh();
      await this.#writeRules(this.#settings);
    }).then(
      () => this.#backoff.reset('facts'),
      (error: unknown) => {
        if (this.#abort.signal.aborted) return;
        this.#log.error('rules do not follow the node yet', { error });
        this.#clock.after(this.#backoff.next('facts'), () => this.#factsChanged());
      },
    );
  }
  #linksChanged({ addresses }: LinkChange): void {
    try {
      this.#routes?.refresh();
    } catch (error) {
      this.#log.warn('routes to cluster IPs', { error });
    }
    if (!addresses) return;
    this.#serviceHealth?.refresh();
    for (const { backend } of this.#families) backend.addressesChanged?.();
  }

  /** Has anybody else changed the rules? */
  async #compareIfChanged(): Promise<void> {
    try {
      this.#routes?.refresh();
      await this.#engine?.checkKernel();
    } catch (error) {
      this.#log.warn('cannot look at the rules', { error });
    }
  }

  /** What other modes left goes once ours is in place: no moment without rules. */
  async #removeLeftovers(): Promise<void> {
    await this.#queue(async () => {
      const context = { clock: this.#clock, log: this.#log };
      for (const { mode, family, error } of await removeLeftovers(this.#settings.mode, context)) {
        this.#metrics.nftablesCleanupFailures.inc({ ip_family: `IPv${family}` });
        this.#log.error('rules of another mode not removed', { mode, family, error });
      }
    }).catch((error: unknown) => this.#log.error('rules of other modes not removed', { error }));
  }

  async #stop({ remove }: StopOptions): Promise<void> {
    this.#abort.abort(new Error('proxy stopped'));
    this.#looks.stop();
    this.#resyncs.stop();
    this.#facts.stop();
    this.#links?.close();
    await this.#started?.catch(() => {});
    await this.#engine?.stop();
    await this.#turn;
    await this.#serviceHealth?.close();
    await this.#servers.close();
    await this.#stateServer?.close();
    for (const { backend } of this.#families) {
      if (remove) await backend.remove();
      backend.close();
    }
    if (remove) this.#routes?.retain(new Set());
    this.#routes?.close();
    await this.#report.flush();
  }
}
