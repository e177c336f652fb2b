import { type Clock, unlessAborted } from '../async/index.ts';
import type { Logger } from '../log/index.ts';
import type { Backend } from './backends/backend.ts';
import { conntrackCleaner } from './conntrack/cleaner.ts';
import type { FamilyProxy, FlushResult } from './family-proxy.ts';
import { Healer } from './heal/healer.ts';
import type { ProxyHealth } from './health/health-server.ts';
import type { ProxyMetrics } from './health/metrics.ts';
import type { ServiceHealthServers } from './health/service-health.ts';
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
  minimumPauseMs: number;
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
  readonly #clusterIps = new Map<string, string>();
  readonly #unsupported = new Map<string, string>();
  #ready = false;
  #full = false;
  #nextBackends: ReadonlyMap<IpFamily, Backend> | undefined;

  constructor(options: ProxyEngineOptions) {
    this.#options = options;
    this.#cleaner = conntrackCleaner(options);
    this.#loop = new SyncLoop({
      clock: options.clock,
      minimumPauseMs: options.minimumPauseMs,
      run: () => this.#run(),
      onError: (error) => options.log.error('sync failed', { error }),
    });
    this.#healer = new Healer({
      ...options,
      exclusive: (work) => this.#runAlone(work),
      onRepaired: ({ family }, repairs) => {
        for (const [table, count] of repairs) options.metrics.repairs.inc({ ip_family: `IPv${family}`, table }, count);
      },
    });
  }

  /** Watches, waits until everything is known, and brings the kernel in line. */
  async start(signal: AbortSignal): Promise<void> {
    const { source, clock, log, families, routes } = this.#options;
    source.start((service, what) => this.#changed(service, what));
    await unlessAborted(source.synced, signal);
    const begin = clock.monotonic();
    let turn = 0;
    for (const service of source.keys()) {
      this.#plan(service);
      if (++turn % servicesPerTurn === 0) await nextTurn();
    }
    routes?.retain(new Set(this.#clusterIps.values()));
    this.#dirty.clear();
    this.#ready = true;
    await this.adoptAll();
    this.#cleaner.checkAll();
    for (const family of families) this.#healer.watch(family);
    log.info('rules are in place', {
      services: source.keys().length,
      plans: families.reduce((sum, family) => sum + family.plans.size, 0),
      ms: Math.round(clock.monotonic() - begin),
    });
    if (this.#dirty.size > 0) this.#loop.request();
  }

  /** Compares the kernel with every plan. Gives what had to be written. */
  async adoptAll(): Promise<number> {
    const { families, metrics, health, clock, log } = this.#options;
    const begin = clock.monotonic();
    let written = 0;
    for (const family of families) {
      const label = { ip_family: `IPv${family.family}` };
      const done = metrics.fullSyncDuration.startTimer(label);
      const result = await family.adopt();
      done();
      written += result.written;
      metrics.lastSync.set(label, clock.now() / 1000);
      health.updated(`IPv${family.family}`);
      log.debug('compared with the kernel', { family: family.family, ...result, ms: clock.monotonic() - begin });
    }
    return written;
  }

  /** Plans everything anew, with other backends, and compares it all with the kernel: the node changed. */
  replanAll(backends: ReadonlyMap<IpFamily, Backend>): void {
    this.#nextBackends = backends;
    for (const service of this.#options.source.keys()) this.#dirty.add(service);
    this.requestComparison();
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

  #changed(service: string, what: 'service' | 'endpoints'): void {
    const { metrics, families, health, clock } = this.#options;
    this.#dirty.add(service);
    for (const { family } of families) {
      const label = { ip_family: `IPv${family}` };
      (what === 'service' ? metrics.serviceChanges : metrics.endpointChanges).inc(label);
      metrics.lastQueued.set(label, clock.now() / 1000);
      health.queued(`IPv${family}`);
    }
    if (what === 'endpoints') this.#noteTrigger(service);
    if (this.#ready) this.#loop.request();
  }
  #noteTrigger(service: string): void {
    if (!this.#ready) return;
    for (const slice of this.#options.source.slices(service)) {
      const text = slice.metadata.annotations?.[triggerAnnotation];
      const at = text ? Date.parse(text) : Number.NaN;
      if (!Number.isNaN(at)) this.#triggers.set(service, Math.min(at, this.#triggers.get(service) ?? at));
    }
  }

  async #run(): Promise<void> {
    const services = [...this.#dirty];
    this.#dirty.clear();
    for (const service of services) this.#plan(service);
    for (const family of this.#options.families) {
      const next = this.#nextBackends?.get(family.family);
      if (next) family.setBackend(next);
    }
    const changed = this.#nextBackends;
    this.#nextBackends = undefined;
    if (this.#full) {
      this.#full = false;
      await this.adoptAll();
      this.#cleaner.checkAll();
      for (const family of this.#options.families) if (changed?.has(family.family)) this.#healer.watch(family);
    }
    for (const family of this.#options.families) await this.#flush(family);
    for (const work of this.#exclusive.splice(0)) await work();
    this.#noteLatency(services);
    const waits = this.#options.families.flatMap((family) => family.retryInMs ?? []);
    if (waits.length > 0) this.#loop.requestAfter(Math.min(...waits) + 1);
  }

  /** Runs the work in the loop, when nothing else writes. */
  #runAlone<T>(work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#exclusive.push(() => work().then(resolve, reject));
      this.#loop.request();
    });
  }

  async #flush(family: FamilyProxy): Promise<void> {
    const { metrics, health, clock } = this.#options;
    const label = { ip_family: `IPv${family.family}` };
    const done = metrics.partialSyncDuration.startTimer(label);
    const whole = metrics.syncDuration.startTimer(label);
    const result = await family.flush();
    if (result.applied.length > 0 || result.refused.length > 0) {
      done();
      whole();
      metrics.lastSync.set(label, clock.now() / 1000);
    }
    if (result.refused.length > 0) this.#reportRefused(family, result);
    else health.updated(`IPv${family.family}`);
    metrics.refused.set(result.refused.length);
    this.#cleaner.check(family.family, result.applied);
  }
  #reportRefused(family: FamilyProxy, { refused }: FlushResult): void {
    const { metrics, log, onProblem } = this.#options;
    const failures = family.backend.mode === 'nftables' ? metrics.nftablesFailures : metrics.partialRestoreFailures;
    failures.inc({ ip_family: `IPv${family.family}` });
    for (const { change, error } of refused) {
      log.error('service set aside', { service: change.key, error });
      onProblem(serviceOfChange(change), 'FailedToProgramService', (error as Error).message);
    }
  }
  #noteLatency(services: readonly string[]): void {
    const { metrics, families, clock } = this.#options;
    for (const service of services) {
      const at = this.#triggers.get(service);
      if (at === undefined) continue;
      this.#triggers.delete(service);
      for (const { family } of families)
        metrics.programmingDuration.observe({ ip_family: `IPv${family}` }, Math.max(0, clock.now() - at) / 1000);
    }
  }

  /** Reads one Service and its slices anew, in every family. */
  #plan(key: string): void {
    const { source, families, topology, onProblem } = this.#options;
    const service = source.service(key);
    const slices = service ? source.slices(key) : [];
    const place = topology();
    let healthPort = 0;
    let local = 0;
    for (const family of families) {
      const problem = ({ field, message }: ServiceProblem) => onProblem(key, 'InvalidService', `${field}: ${message}`);
      const model = service && readService(service, family.family, problem);
      const endpoints = model ? readEndpoints(slices, family.family, place.nodeName) : new Map();
      this.#reportConflicts(key, family.update(key, model, endpoints, place));
      this.#reportUnsupported(family, key, model);
      if (family.family === 4) this.#followClusterIp(key, model);
      if (!model?.healthCheckNodePort) continue;
      healthPort = model.healthCheckNodePort;
      const ready = [...endpoints.values()].flat().filter((endpoint) => endpoint.local && endpoint.ready);
      local += new Set(ready.map((endpoint) => endpoint.address)).size;
    }
    const check = healthPort > 0 ? { service: key, port: healthPort, localEndpoints: local } : undefined;
    this.#options.serviceHealth.set(key, check);
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
