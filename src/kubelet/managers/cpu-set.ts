/** Numbers of processors. */
export type CpuSet = ReadonlySet<number>;

/** Reads a list as the kernel writes it (`0-3,8`). @throws Error for what is none */
export function parseCpuSet(text: string): Set<number> {
  const cpus = new Set<number>();
  const trimmed = text.trim();
  if (trimmed === '') return cpus;
  for (const part of trimmed.split(',')) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part.trim());
    const first = Number(match?.[1]);
    const last = match?.[2] === undefined ? first : Number(match[2]);
    if (!match || last < first) throw new Error(`${JSON.stringify(text)} is not a list of processors like 0-3,8`);
    for (let cpu = first; cpu <= last; cpu++) cpus.add(cpu);
  }
  return cpus;
}

/** Writes a list as the kernel does: `0-3,8`. */
export function formatCpuSet(cpus: Iterable<number>): string {
  const sorted = [...cpus].sort((a, b) => a - b);
  const parts: string[] = [];
  for (let at = 0; at < sorted.length; ) {
    let end = at;
    while (sorted[end + 1] === sorted[end]! + 1) end++;
    parts.push(end === at ? String(sorted[at]) : `${sorted[at]}-${sorted[end]}`);
    at = end + 1;
  }
  return parts.join(',');
}

/** Whether two sets have the same members. */
export function sameCpus(a: CpuSet, b: CpuSet): boolean {
  return a.size === b.size && a.isSubsetOf(b);
}
