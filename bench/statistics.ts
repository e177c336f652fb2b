/** Percentiles and other summaries of samples. */

/** The value below which the given share of the samples lies (nearest rank). */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? Number.NaN;
}

/** p50 and p99 in milliseconds, as text. */
export function summarise(samples: readonly number[]): string {
  return `p50 ${format(percentile(samples, 0.5))} ms, p99 ${format(percentile(samples, 0.99))} ms (n=${samples.length})`;
}

/** A number with a sensible count of digits. */
export function format(value: number): string {
  return value >= 100 ? String(Math.round(value)) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
