import type { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** One finished request. */
export interface RequestSample {
  verb: string;
  group: string;
  version: string;
  resource: string;
  subresource: string;
  scope: string;
  dryRun: string;
  code: number;
  seconds: number;
  longRunning: boolean;
}

/** Values that are read when somebody asks. */
export interface MetricSources {
  watchers(): number;
  objects(): ReadonlyMap<string, number>;
  revision(): number;
}

interface Instruments {
  registry: Registry;
  requests: Counter;
  durations: Histogram;
  watchers: Gauge;
  objects: Gauge;
  revision: Gauge;
}

/**
 * The server's metrics, under the names of upstream's. Samples are counted here; the metrics library is loaded when
 * somebody reads them for the first time.
 */
export class Metrics {
  readonly #sources: MetricSources;
  #instruments: Instruments | undefined;
  #waiting: RequestSample[] = [];
  readonly #counts = new Map<string, { sample: RequestSample; count: number }>();

  constructor(sources: MetricSources) {
    this.#sources = sources;
  }

  /** Counts a finished request. */
  observe(sample: RequestSample): void {
    if (this.#instruments) return record(this.#instruments, sample);
    // Until the first reading, durations of the first requests and counts of all are kept.
    if (this.#waiting.length < 1_000) this.#waiting.push(sample);
    else {
      const key = JSON.stringify([sample.verb, sample.group, sample.resource, sample.subresource, sample.code]);
      const known = this.#counts.get(key);
      if (known) known.count++;
      else this.#counts.set(key, { sample, count: 1 });
    }
  }

  /** The metrics in Prometheus' text format. */
  async render(): Promise<string> {
    this.#instruments ??= await this.#load();
    const { registry, watchers, objects, revision } = this.#instruments;
    watchers.set(this.#sources.watchers());
    revision.set(this.#sources.revision());
    for (const [resource, count] of this.#sources.objects()) objects.set({ resource }, count);
    return registry.metrics();
  }

  async #load(): Promise<Instruments> {
    const { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } = (await import('prom-client')).default;
    const registry = new Registry();
    const registers = [registry];
    const names = ['verb', 'group', 'version', 'resource', 'subresource', 'scope', 'dry_run'];
    const instruments: Instruments = {
      registry,
      requests: new Counter({
        name: 'apiserver_request_total',
        help: 'Requests by verb, resource and code',
        labelNames: [...names, 'code'],
        registers,
      }),
      durations: new Histogram({
        name: 'apiserver_request_duration_seconds',
        help: 'How long requests took, watches aside',
        labelNames: names,
        buckets: [0.001, 0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 5, 10, 30, 60],
        registers,
      }),
      watchers: new Gauge({ name: 'apiserver_longrunning_requests', help: 'Watches that are open', registers }),
      objects: new Gauge({
        name: 'apiserver_storage_objects',
        help: 'Stored objects by resource',
        labelNames: ['resource'],
        registers,
      }),
      revision: new Gauge({ name: 'deckhand_store_revision', help: 'Revision of the last change', registers }),
    };
    collectDefaultMetrics({ register: registry });
    for (const sample of this.#waiting.splice(0)) record(instruments, sample);
    for (const { sample, count } of this.#counts.values()) instruments.requests.inc(labelsOf(sample, true), count);
    this.#counts.clear();
    return instruments;
  }
}

function labelsOf(sample: RequestSample, withCode: boolean): Record<string, string> {
  const { verb, group, version, resource, subresource, scope, dryRun } = sample;
  const labels = { verb: verb.toUpperCase(), group, version, resource, subresource, scope, dry_run: dryRun };
  return withCode ? { ...labels, code: String(sample.code) } : labels;
}

function record(instruments: Instruments, sample: RequestSample): void {
  instruments.requests.inc(labelsOf(sample, true));
  if (!sample.longRunning) instruments.durations.observe(labelsOf(sample, false), sample.seconds);
}
