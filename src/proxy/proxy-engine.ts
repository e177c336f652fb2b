import type { EndpointSlice } from '../api/index.ts';
import { type Clock, unlessAborted } from '../async/index.ts';
import type { Logger } from '../log/index.ts';
import type { Backend } from './backends/backend.ts';
import { isFeatureOn, type ProxySettings } from './configuration.ts';
import { conntrackCleaner } from './conntrack/cleaner.ts';
import type { FamilyProxy, FlushResult } from './family-proxy.ts';
import { Healer } from './heal/healer.ts';
import { familyName } from './health/family-name.ts';
import type { ProxyMetrics } from './health/metrics.ts';
import type { ProxyHealth } from './health/proxy-health.ts';
import type { ServiceHealthServers } from './health/service-health.ts';
import { handOver } from './live/hand-over.ts';
import { readEndpoints } from './model/endpoints.ts';
import { readService, type ServiceProblem } from './model/service.ts';
import type { IpFamily, ServiceModel } from './model/types.ts';
import type { ServiceRoutes } from './node-network.ts';
import type { Topology } from './plan/plan-service.ts';
import type { Conflict } from './plan/plan-table.ts';
import type { PlanChange } from './plan/types.ts';
import type { ServiceSource } from './service-source.ts';
import { SyncLoop } from './sync-loop.ts';

/** The annotation by which the slice controller says when the endpoints changed. */
const triggerAnnotation = 'endpoints.kubernetes.io/last-change-trigger-time';
/** Services planned at start before other work gets a turn. */
const servicesPerTurn = 500;

/** What the engine works with. */
export interface ProxyEngineOptions {
  source: ServiceSource;
  families: readonly FamilyProxy[];
  topology: () => Topology;
  metrics: ProxyMetrics;
  health: ProxyHealth;
  serviceHealth: ServiceHealthServers;
  routes?: ServiceRoutes;
  clock: Clock;
  log: Logger;
  /** Those in effect: they may change. */
  settings: () => ProxySettings;
  /** Told of what is wrong with a Service, for an event. */
  onProblem: (service: string, reason: string, message: string) => void;
}

/** Follows Services and slices, and keeps every family's rules in line with them. */
export class ProxyEngine {
  readonly #options: ProxyEngineOptions;
  readonly #loop: SyncLoop;
  readonly #cleaner;
  readonly #healer: Healer;
  readonly #exclusive: (() => Promise<void>)[] = [];
  readonly #dirty = new Set<string>();
  readonly #triggers = new Map<string, number>();
  #seen = new Map<string, number>();
  #waiting = { service: 0, endpoints: 0 };
  readonly #clusterIps = new Map<string, string>();
  readonly #unsupported = new Map<string, string>();
  #ready = false;
  #readyAt = 0;
  #full = false;
  readonly #firstWrite = Promise.withResolvers<void>();

  constructor(options: ProxyEngineOptions) {
    this.#options = options;
    this.#cleaner = conntrackCleaner(options);
    this.#loop = new SyncLoop({
      clock: options.clock,
      minimumPauseMs: () => options.settings().minSyncPeriodMs,
      run: () => this.#run(),
      onError: (error) => options.log.error('sync failed', { error }),
    });
    this.#healer = new Healer({
      ...options,
      exclusive: (work) => this.#runAlone(work),
      onRepaired: ({ family }, repairs) => {
        for (const [table, count] of repairs)
          options.metrics.repairs.inc({ ip_family: familyName(family), table }, count);
      },
    });
  }

  /** Watches, waits until everything is known, and brings the kernel in line; what fails is tried again until it works. */
  async start(signal: AbortSignal): Promise<void> {
    const { source, clock, log, families, routes } = this.#options;
    source.start((...change) => this.#changed(...change));
    await unlessAborted(source.synced, signal);
    const begin = clock.monotonic();
    await this.#planAll(source.keys());
    routes?.retain(new Set(this.#clusterIps.values()));
    this.#dirty.clear();
    this.#ready = true;
    this.#readyAt = clock.now();
    this.#full = true;
    this.#loop.requestNow();
    await unlessAborted(this.#firstWrite.promise, signal);
    for (const family of families) this.#healer.watch(family);
    log.info('rules are in place', {
      services: source.keys().length,
      plans: families.reduce((sum, family) => sum + family.plans.size, 0),
      ms: Math.round(clock.monotonic() - begin),
    });
  }

  /** Compares the kernel with every plan. Gives what had to be written. */
  async adoptAll(): Promise<number> {
    const { families, metrics, health, clock, log } = this.#options;
    const begin = clock.monotonic();
    let written = 0;
    for (const family of families) {
      const label = { ip_family: familyName(family.family) };
      const [done, whole] = [metrics.fullSyncDuration.startTimer(label), metrics.syncDuration.startTimer(label)];
      const result = await family.adopt();
      done();
      whole();
      written += result.written;
      metrics.lastSync.set(label, clock.now() / 1000);
      health.updated(familyName(family.family));
      log.debug('compared with the kernel', { family: family.family, ...result, ms: clock.monotonic() - begin });
    }
    return written;
  }

  /** Plans everything anew: the node's place, or what counts of a Service, changed. Only what differs is written. */
  replanAll(): void {
    for (const service of this.#options.source.keys()) this.#dirty.add(service);
    if (this.#ready) this.#loop.requestNow();
  }
  /**
   * Hands the rules over to other backends, between two writes and with everything that is known by then. The old ones stay
   * when the new ones cannot. @throws what the new ones throw
   */
  async handOver(next: ReadonlyMap<IpFamily, Backend>): Promise<void> {
    const { families, log, metrics } = this.#options;
    const onLeftover = (family: IpFamily) => metrics.nftablesCleanupFailures.inc({ ip_family: familyName(family) });
    await this.#runAlone(() => handOver(families, next, { log, onLeftover }), true);
    for (const family of families) this.#healer.watch(family);
    this.#cleaner.checkAll();
  }
  /** Looks whether others changed rules without a notice, and puts right what differs. */
  checkKernel(): Promise<void> {
    return this.#ready ? this.#healer.check() : Promise.resolve();
  }
  /** Compares with the kernel at the next turn. */
  requestComparison(): void {
    if (!this.#ready) return;
    this.#full = true;
    this.#loop.request();
  }
  /** Changes that are known and not written yet. */
  get waiting(): Readonly<{ service: number; endpoints: number }> {
    return this.#waiting;
  }
  /** Resolves when everything known so far is in the kernel and stale flows are gone. */
  async idle(): Promise<void> {
    await this.#loop.idle();
    await this.#healer.settled();
    await this.#cleaner.settled();
  }
  async stop(): Promise<void> {
    this.#options.source.stop();
    await this.#healer.stop();
    await this.#loop.stop();
    await this.#cleaner.settled();
  }

  #changed(service: string, what: 'service' | 'endpoints', slice?: EndpointSlice): void {
    const { metrics, families, health, clock } = this.#options;
    this.#dirty.add(service);
    (what === 'service' ? metrics.serviceChanges : metrics.endpointChanges).inc();
    this.#waiting[what]++;
    if (this.#ready && !this.#seen.has(service)) this.#seen.set(service, clock.monotonic());
    for (const { family } of families) {
      const label = { ip_family: familyName(family) };
      metrics.lastQueued.set(label, clock.now() / 1000);
      health.queued(familyName(family));
    }
    if (what === 'endpoints') this.#noteTrigger(service, slice);
    if (this.#ready) this.#loop.request();
  }
  /** Only what changed while we watch tells how long it took. */
  #noteTrigger(service: string, slice: EndpointSlice | undefined): void {
    const at = Date.parse(slice?.metadata.annotations?.[triggerAnnotation] ?? '');
    if (!this.#ready || Number.isNaN(at) || at < this.#readyAt) return;
    this.#triggers.set(service, Math.min(at, this.#triggers.get(service) ?? at));
  }

  async #run(): Promise<void> {
    const services = [...this.#dirty];
    this.#dirty.clear();
    const seen = this.#takeSeen();
    const { service, endpoints } = this.#waiting;
    try {
      await this.#planAll(services);
      if (this.#full) await this.#compare();
      for (const family of this.#options.families) await this.#flush(family);
      for (const work of this.#exclusive.splice(0)) await work();
    } catch (error) {
      this.#seen = new Map([...this.#seen, ...seen]);
      throw error;
    }
    this.#waiting.service -= service;
    this.#waiting.endpoints -= endpoints;
    this.#firstWrite.resolve();
    this.#noteLatency(services, seen);
    const waits = this.#options.families.flatMap((family) => family.retryInMs ?? []);
    if (waits.length > 0) this.#loop.requestAfter(Math.min(...waits) + 1);
  }
  async #compare(): Promise<void> {
    this.#full = false;
    try {
      await this.adoptAll();
    } catch (error) {
      this.#full = true;
      throw error;
    }
    this.#cleaner.checkAll();
  }
  /** Plans many Services, with turns for other work in between. One that cannot even be read holds up no other. */
  async #planAll(services: readonly string[]): Promise<void> {
    for (const [index, service] of services.entries()) {
      try {
        this.#plan(service);
      } catch (error) {
        this.#options.log.error('service cannot be planned', { service, error });
        this.#options.onProblem(service, 'InvalidService', (error as Error).message);
      }
      if ((index + 1) % servicesPerTurn === 0) await nextTurn();
    }
  }

  /** Runs the work in the loop, when nothing else writes. */
  #runAlone<T>(work: () => Promise<T>, now = false): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#exclusive.push(() => work().then(resolve, reject));
      if (this.#ready) now ? this.#loop.requestNow() : this.#loop.request();
    });
  }

  async #flush(family: FamilyProxy): Promise<void> {
    const { metrics, health, clock } = this.#options;
    const label = { ip_family: familyName(family.family) };
    const done = metrics.partialSyncDuration.startTimer(label);
    const whole = metrics.syncDuration.startTimer(label);
    const result = await family.flush();
    if (result.applied.length > 0 || result.refused.length > 0) {
      done();
      whole();
      metrics.lastSync.set(label, clock.now() / 1000);
    }
    if (result.refused.length > 0) this.#reportRefused(family, result);
    // One Service that is refused makes no ill proxy; several, and none that is taken, do.
    if (result.refused.length === 0 || result.applied.length > 0 || family.refused.length === 1)
      health.updated(familyName(family.family));
    this.#cleaner.check(family.family, result.applied);
  }
  #reportRefused(family: FamilyProxy, { refused }: FlushResult): void {
    const { metrics, log, onProblem } = this.#options;
    const failures = family.backend.mode === 'nftables' ? metrics.nftablesFailures : metrics.partialRestoreFailures;
    failures.inc({ ip_family: familyName(family.family) });
    for (const { change, error } of refused) {
      log.error('service set aside', { service: change.key, error });
      onProblem(serviceOfChange(change), 'FailedToProgramService', (error as Error).message);
    }
  }
  /** When the first change of each Service that this run writes came. */
  #takeSeen(): ReadonlyMap<string, number> {
    const seen = this.#seen;
    this.#seen = new Map();
    return seen;
  }
  #noteLatency(services: readonly string[], seen: ReadonlyMap<string, number>): void {
    const { metrics, families, clock } = this.#options;
    for (const at of seen.values()) metrics.changeDuration.observe((clock.monotonic() - at) / 1000);
    for (const service of services) {
      const at = this.#triggers.get(service);
      if (at === undefined) continue;
      this.#triggers.delete(service);
      for (const { family } of families)
        metrics.programmingDuration.observe({ ip_family: familyName(family) }, Math.max(0, clock.now() - at) / 1000);
    }
  }

  /** Reads one Service and its slices anew, in every family. */
  #plan(key: string): void {
    const { source, families, topology, onProblem } = this.#options;
    const service = source.service(key);
    const slices = service ? source.slices(key) : [];
    const place = topology();
    let healthPort = 0;
    const local = new Map<IpFamily, number>();
    for (const family of families) {
      const problem = ({ field, message }: ServiceProblem) => onProblem(key, 'InvalidService', `${field}: ${message}`);
      const model = service && this.#permitted(readService(service, family.family, problem));
      const endpoints = model ? readEndpoints(slices, family.family, place.nodeName) : new Map();
      this.#reportConflicts(key, family.update(key, model, endpoints, place));
      this.#reportUnsupported(family, key, model);
      if (family.family === 4) this.#followClusterIp(key, model);
      if (!model?.healthCheckNodePort) continue;
      healthPort = model.healthCheckNodePort;
      const ready = [...endpoints.values()].flat().filter((endpoint) => endpoint.local && endpoint.ready);
      local.set(family.family, new Set(ready.map((endpoint) => endpoint.address)).size);
    }
    const check = healthPort > 0 ? { service: key, port: healthPort, localEndpoints: local } : undefined;
    this.#options.serviceHealth.set(key, check);
  }
  /** Without the gate, external IPs are nobody's. */
  #permitted(model: ServiceModel | undefined): ServiceModel | undefined {
    const allowed = isFeatureOn(this.#options.settings().featureGates, 'AllowServiceExternalIPs');
    return !model || allowed || model.externalIps.length === 0 ? model : { ...model, externalIps: [] };
  }
  #reportConflicts(service: string, conflicts: readonly Conflict[]): void {
    for (const { owner, frontend } of conflicts) {
      const where = `${frontend.address || 'node port'} ${frontend.protocol} ${frontend.port}`;
      this.#options.log.warn('address belongs to another service', { service, owner, address: where });
      this.#options.onProblem(service, 'AddressConflict', `${where} belongs to ${owner}`);
    }
  }
  /** Says once what of a Service's choice of balancing this mode cannot do. */
  #reportUnsupported({ backend, plans }: FamilyProxy, service: string, model: ServiceModel | undefined): void {
    const [plan] = model?.balance ? plans.of(service) : [];
    const message = plan && backend.unsupported?.(plan);
    if (!message) return void this.#unsupported.delete(service);
    if (this.#unsupported.get(service) === message) return;
    this.#unsupported.set(service, message);
    this.#options.onProblem(service, 'UnsupportedBalance', message);
  }
  #followClusterIp(service: string, model: ServiceModel | undefined): void {
    const { routes } = this.#options;
    const before = this.#clusterIps.get(service);
    if (before === model?.clusterIp) return;
    if (before !== undefined) routes?.delete(before);
    if (model) this.#clusterIps.set(service, model.clusterIp);
    else this.#clusterIps.delete(service);
    if (model) routes?.add(model.clusterIp);
  }
}

function serviceOfChange(change: PlanChange): string {
  return (change.after ?? change.before)!.service;
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
