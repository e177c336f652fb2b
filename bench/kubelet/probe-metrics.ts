/** Counts of a histogram by upper bound, as the kubelet tells them (added up). */
export type Buckets = Map<number, number>;

/** Reads one histogram without labels from the text format. */
export function readHistogram(text: string, name: string): Buckets {
  const buckets: Buckets = new Map();
  for (const [, bound, count] of text.matchAll(new RegExp(`^${name}_bucket\\{le="([^"]+)"\\} (\\d+)$`, 'gm')))
    buckets.set(bound === '+Inf' ? Number.POSITIVE_INFINITY : Number(bound), Number(count));
  return buckets;
}

/** What came in between two looks: how many, how many above a bound, and the bound below which all were. */
export function between(before: Buckets, after: Buckets, bound: number): { count: number; above: number; all: number } {
  const added = (at: number) => (after.get(at) ?? 0) - (before.get(at) ?? 0);
  const count = added(Number.POSITIVE_INFINITY);
  const bounds = [...after.keys()].sort((a, b) => a - b);
  const all = bounds.find((one) => added(one) === count) ?? Number.POSITIVE_INFINITY;
  return { count, above: count - added(bound), all };
}
