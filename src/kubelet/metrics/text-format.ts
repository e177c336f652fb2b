/** A metric with its samples. */
export interface Family {
  name: string;
  type: 'counter' | 'gauge' | 'histogram';
  help: string;
  samples: Sample[];
}

/** One value; of a histogram one line of it. */
export interface Sample {
  labels: Readonly<Record<string, string>>;
  value: number;
  /** When it was measured, milliseconds since 1970. */
  atMs?: number;
  /** Of a histogram: `_bucket`, `_sum` or `_count`. */
  suffix?: string;
}

/** What the text format is served as. */
export const metricsContentType = 'text/plain; version=0.0.4; charset=utf-8';

const escapeLabel = (value: string): string =>
  /[\\"\n]/.test(value) ? value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n') : value;

/** Writes families in the text format of Prometheus (version 0.0.4); those without samples are left out. */
export function formatMetrics(families: readonly Family[]): string {
  const lines: string[] = [];
  for (const { name, type, help, samples } of families) {
    if (samples.length === 0) continue;
    lines.push(`# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`, `# TYPE ${name} ${type}`);
    for (const { labels, value, atMs, suffix = '' } of samples) {
      let pairs = '';
      for (const key in labels) pairs += `${pairs === '' ? '' : ','}${key}="${escapeLabel(labels[key]!)}"`;
      lines.push(
        `${name}${suffix}${pairs === '' ? '' : `{${pairs}}`} ${formatValue(value)}${atMs ? ` ${Math.round(atMs)}` : ''}`,
      );
    }
  }
  return `${lines.join('\n')}\n`;
}

function formatValue(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  if (value === Number.NEGATIVE_INFINITY) return '-Inf';
  return String(value);
}
