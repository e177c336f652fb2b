import { type CgroupUsage, parsePressure } from './usage.ts';

/** What is asked for often, of all that a cgroup tells. */
export type CgroupSample = Pick<
  CgroupUsage,
  | 'cpuNs'
  | 'memoryBytes'
  | 'memoryLimitBytes'
  | 'workingSetBytes'
  | 'rssBytes'
  | 'pageFaults'
  | 'majorPageFaults'
  | 'swapBytes'
  | 'swapLimitBytes'
  | 'processes'
  | 'cpuPressure'
  | 'memoryPressure'
  | 'ioPressure'
>;

/** Gives what a file of the cgroup in a controller's tree holds. */
export type ReadFile = (controller: string, file: string) => string | undefined;

const noLimit = 1n << 60n;

const less = (whole: bigint, part: bigint): bigint => (part > whole ? 0n : whole - part);

function number(content: string | undefined): bigint | undefined {
  // Files of one number end with a line feed; `max` is no number.
  return content !== undefined && content.charCodeAt(0) <= 57 && content.length > 1
    ? BigInt(content.trimEnd())
    : undefined;
}

/** The number behind a key at the start of a line; several keys are looked for in the order of the file. */
function numbers<const K extends string>(content: string, ...keys: K[]): Record<K, bigint> {
  const found: Partial<Record<K, bigint>> = {};
  const text = `\n${content}`;
  for (const key of keys) {
    const at = text.indexOf(`\n${key} `);
    const begin = at + key.length + 2;
    found[key] = at < 0 ? 0n : BigInt(text.slice(begin, text.indexOf('\n', begin)));
  }
  return found as Record<K, bigint>;
}

/** Reads the sample of a cgroup; undefined when it is not there. */
export function readSample(read: ReadFile, v2: boolean): CgroupSample | undefined {
  const sample = v2 ? readV2(read) : readV1(read);
  return sample && { ...sample, ...readPressures(read) };
}

function readV1(read: ReadFile): CgroupSample | undefined {
  const cpuNs = number(read('cpuacct', 'cpuacct.usage'));
  const memoryBytes = number(read('memory', 'memory.usage_in_bytes'));
  if (cpuNs === undefined && memoryBytes === undefined) return undefined;
  const statistics = numbers(
    read('memory', 'memory.stat') ?? '',
    'total_inactive_file',
    'total_rss',
    'total_pgfault',
    'total_pgmajfault',
  );
  const used = memoryBytes ?? 0n;
  const limit = number(read('memory', 'memory.limit_in_bytes'));
  const limited = limit !== undefined && limit < noLimit ? limit : undefined;
  const both = number(read('memory', 'memory.memsw.usage_in_bytes'));
  const bothLimit = number(read('memory', 'memory.memsw.limit_in_bytes'));
  return {
    cpuNs: cpuNs ?? 0n,
    memoryBytes: used,
    memoryLimitBytes: limited,
    workingSetBytes: less(used, statistics.total_inactive_file),
    rssBytes: statistics.total_rss,
    pageFaults: statistics.total_pgfault,
    majorPageFaults: statistics.total_pgmajfault,
    swapBytes: both === undefined ? undefined : less(both, used),
    swapLimitBytes: bothLimit === undefined || bothLimit >= noLimit ? undefined : less(bothLimit, limited ?? 0n),
    processes: number(read('pids', 'pids.current')) ?? 0n,
  };
}

function readV2(read: ReadFile): CgroupSample | undefined {
  const cpu = read('unified', 'cpu.stat');
  if (cpu === undefined) return undefined;
  const statistics = numbers(read('unified', 'memory.stat') ?? '', 'anon', 'inactive_file', 'pgfault', 'pgmajfault');
  const memoryBytes = number(read('unified', 'memory.current')) ?? 0n;
  return {
    cpuNs: numbers(cpu, 'usage_usec').usage_usec * 1000n,
    memoryBytes,
    memoryLimitBytes: number(read('unified', 'memory.max')),
    workingSetBytes: less(memoryBytes, statistics.inactive_file),
    rssBytes: statistics.anon,
    pageFaults: statistics.pgfault,
    majorPageFaults: statistics.pgmajfault,
    swapBytes: number(read('unified', 'memory.swap.current')),
    swapLimitBytes: number(read('unified', 'memory.swap.max')),
    processes: number(read('unified', 'pids.current')) ?? 0n,
  };
}

function readPressures(read: ReadFile): Pick<CgroupSample, 'cpuPressure' | 'memoryPressure' | 'ioPressure'> {
  return {
    cpuPressure: parsePressure(read('unified', 'cpu.pressure')),
    memoryPressure: parsePressure(read('unified', 'memory.pressure')),
    ioPressure: parsePressure(read('unified', 'io.pressure')),
  };
}
