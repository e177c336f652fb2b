import { type Definition, defaultBuckets, definitions, type MetricName } from './definitions.ts';
import type { Family, Sample } from './text-format.ts';

type Labels = Readonly<Record<string, string>>;

/** What is known of one metric with one set of labels. */
interface Series {
  labels: Labels;
  value: number;
  /** Of a histogram: how many were at most each bound (not added up). */
  counts?: number[];
  count: number;
}

/**
 * The kubelet's metrics. A library would cost 45 ms of every start and 17 MB, and knows no times of samples; there is
 * little to it: numbers by name and labels.
 */
export class KubeletMetrics {
  readonly #series = new Map<MetricName, Map<string, Series>>();
  readonly #collectors: (() => Promise<void> | void)[] = [];

  constructor() {
    for (const [name, { type, labels = [] }] of Object.entries(definitions) as [MetricName, Definition][])
      if (labels.length === 0 && type === 'counter') this.#of(name, {});
  }

  /** Adds to a counter (or a gauge). */
  count(name: MetricName, labels: Labels = {}, by = 1): void {
    this.#of(name, labels).value += by;
  }

  /** Sets a gauge. */
  set(name: MetricName, value: number, labels: Labels = {}): void {
    this.#of(name, labels).value = value;
  }

  /** Drops what a gauge had, before it is set anew for what there is now. */
  clear(name: MetricName): void {
    this.#series.delete(name);
  }

  /** Drops the series whose labels are these (and maybe others): their subject is gone. */
  forget(name: MetricName, labels: Labels): void {
    const all = this.#series.get(name);
    for (const [key, series] of all ?? [])
      if (Object.entries(labels).every(([label, value]) => series.labels[label] === value)) all!.delete(key);
  }

  /** Adds an observation to a histogram. */
  observe(name: MetricName, value: number, labels: Labels = {}): void {
    const series = this.#of(name, labels);
    const buckets = bucketsOf(name);
    series.counts ??= new Array<number>(buckets.length).fill(0);
    const at = buckets.findIndex((bound) => value <= bound);
    if (at >= 0) series.counts[at]!++;
    series.value += value;
    series.count++;
  }

  /** Runs work and observes how long it took, seconds; `now` gives milliseconds. */
  async time<T>(name: MetricName, labels: Labels, now: () => number, work: () => Promise<T>): Promise<T> {
    const startedAt = now();
    try {
      return await work();
    } finally {
      this.observe(name, (now() - startedAt) / 1000, labels);
    }
  }

  /** Has something looked at whenever the metrics are read. */
  onCollect(collector: () => Promise<void> | void): void {
    this.#collectors.push(collector);
  }

  /** Everything that an endpoint shows. A collector that fails leaves its metrics as they were. */
  async read(endpoint: 'metrics' | 'probes'): Promise<Family[]> {
    if (endpoint === 'metrics') await Promise.allSettled(this.#collectors.map(async (collect) => collect()));
    const families: Family[] = [];
    for (const [name, definition] of Object.entries(definitions) as [MetricName, Definition][]) {
      if ((definition.endpoint ?? 'metrics') !== endpoint) continue;
      const samples = [...(this.#series.get(name)?.values() ?? [])].flatMap((series) => samplesOf(name, series));
      families.push({ name, type: definition.type, help: definition.help, samples });
    }
    return families;
  }

  #of(name: MetricName, labels: Labels): Series {
    let all = this.#series.get(name);
    if (!all) {
      all = new Map();
      this.#series.set(name, all);
    }
    const { labels: names = [] } = definitions[name] as Definition;
    const key = names.length === 0 ? '' : names.map((label) => labels[label] ?? '').join('\0');
    let series = all.get(key);
    if (!series) {
      const ordered = Object.fromEntries(names.map((label) => [label, labels[label] ?? '']));
      series = { labels: ordered, value: 0, count: 0 };
      all.set(key, series);
    }
    return series;
  }
}

const bucketsOf = (name: MetricName): readonly number[] => (definitions[name] as Definition).buckets ?? defaultBuckets;

function samplesOf(name: MetricName, { labels, value, counts, count }: Series): Sample[] {
  if (definitions[name].type !== 'histogram') return [{ labels, value }];
  let sum = 0;
  const buckets = bucketsOf(name).map((bound, i): Sample => {
    sum += counts?.[i] ?? 0;
    return { suffix: '_bucket', labels: { ...labels, le: String(bound) }, value: sum };
  });
  return [
    ...buckets,
    { suffix: '_bucket', labels: { ...labels, le: '+Inf' }, value: count },
    { suffix: '_sum', labels, value },
    { suffix: '_count', labels, value: count },
  ];
}
