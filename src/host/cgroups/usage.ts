import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Share of time in which tasks waited for a resource; averages in percent, total in microseconds. */
export interface PressureLine {
  average10: number;
  average60: number;
  average300: number;
  totalUs: bigint;
}

/** What the kernel tells of waiting for one resource. */
export interface Pressure {
  some: PressureLine;
  full: PressureLine;
}

/** What a cgroup uses; what the kernel does not tell is undefined. */
export interface CgroupUsage {
  cpuNs: bigint;
  cpuUserNs: bigint;
  cpuSystemNs: bigint;
  cpuPeriods: bigint;
  cpuThrottledPeriods: bigint;
  cpuThrottledNs: bigint;
  memoryBytes: bigint;
  memoryMaximumBytes: bigint;
  memoryFailures: bigint;
  /** Memory that cannot be taken back easily: usage less inactive file pages. */
  workingSetBytes: bigint;
  rssBytes: bigint;
  cacheBytes: bigint;
  mappedFileBytes: bigint;
  pageFaults: bigint;
  majorPageFaults: bigint;
  /** undefined: no limit. */
  memoryLimitBytes?: bigint;
  swapBytes?: bigint;
  swapLimitBytes?: bigint;
  processes: bigint;
  /** Processes and threads that may run; undefined: no limit. */
  processLimit?: bigint;
  kernelMemoryBytes: bigint;
  /** Since the cgroup was made, over all block devices. */
  ioReadBytes: bigint;
  ioWriteBytes: bigint;
  ioReads: bigint;
  ioWrites: bigint;
  cpuPressure?: Pressure;
  memoryPressure?: Pressure;
  ioPressure?: Pressure;
}

type DirectoryOf = (controller: string) => string | undefined;

/** A v1 limit from here on means none. */
const noLimit = 1n << 60n;

/** Reads what a cgroup uses from its files. */
export function readUsage(directoryOf: DirectoryOf, v2: boolean): CgroupUsage {
  return v2 ? readV2(directoryOf('unified') ?? '') : readV1(directoryOf);
}

function text(directory: string | undefined, file: string): string | undefined {
  if (!directory) return undefined;
  try {
    return readFileSync(join(directory, file), 'utf8');
  } catch {
    return undefined;
  }
}

function number(directory: string | undefined, file: string): bigint | undefined {
  const value = text(directory, file)?.trim();
  return value && /^\d+$/.test(value) ? BigInt(value) : undefined;
}

/** Reads a file of lines `key value`. */
function table(directory: string | undefined, file: string): (key: string) => bigint {
  const values = new Map<string, bigint>();
  for (const line of (text(directory, file) ?? '').split('\n')) {
    const at = line.indexOf(' ');
    const value = line.slice(at + 1);
    if (at > 0 && /^\d+$/.test(value)) values.set(line.slice(0, at), BigInt(value));
  }
  return (key) => values.get(key) ?? 0n;
}

/** Adds up lines `8:0 Read 4096` of a v1 file. */
function sumBlocks(content: string | undefined, operation: 'Read' | 'Write'): bigint {
  const found = content?.matchAll(new RegExp(`^\\d+:\\d+ ${operation} (\\d+)$`, 'gm')) ?? [];
  return [...found].reduce((sum, [, value]) => sum + BigInt(value!), 0n);
}

/** Adds up `field=4096` over the lines of a v2 file. */
function sumFields(content: string | undefined, field: string): bigint {
  const found = content?.matchAll(new RegExp(`\\b${field}=(\\d+)`, 'g')) ?? [];
  return [...found].reduce((sum, [, value]) => sum + BigInt(value!), 0n);
}

const less = (whole: bigint, part: bigint): bigint => (part > whole ? 0n : whole - part);

function readV1(directoryOf: DirectoryOf): CgroupUsage {
  const memory = directoryOf('memory');
  const accounting = directoryOf('cpuacct');
  const blockBytes = text(directoryOf('blkio'), 'blkio.throttle.io_service_bytes_recursive');
  const blockCounts = text(directoryOf('blkio'), 'blkio.throttle.io_serviced_recursive');
  const statistics = table(memory, 'memory.stat');
  const cpu = table(directoryOf('cpu'), 'cpu.stat');
  const memoryBytes = number(memory, 'memory.usage_in_bytes') ?? 0n;
  const limit = number(memory, 'memory.limit_in_bytes');
  const both = number(memory, 'memory.memsw.usage_in_bytes');
  const bothLimit = number(memory, 'memory.memsw.limit_in_bytes');
  const limited = limit !== undefined && limit < noLimit ? limit : undefined;
  return {
    cpuNs: number(accounting, 'cpuacct.usage') ?? 0n,
    cpuUserNs: number(accounting, 'cpuacct.usage_user') ?? 0n,
    cpuSystemNs: number(accounting, 'cpuacct.usage_sys') ?? 0n,
    cpuPeriods: cpu('nr_periods'),
    cpuThrottledPeriods: cpu('nr_throttled'),
    cpuThrottledNs: cpu('throttled_time'),
    memoryBytes,
    memoryMaximumBytes: number(memory, 'memory.max_usage_in_bytes') ?? 0n,
    memoryFailures: number(memory, 'memory.failcnt') ?? 0n,
    workingSetBytes: less(memoryBytes, statistics('total_inactive_file')),
    rssBytes: statistics('total_rss'),
    cacheBytes: statistics('total_cache'),
    mappedFileBytes: statistics('total_mapped_file'),
    pageFaults: statistics('total_pgfault'),
    majorPageFaults: statistics('total_pgmajfault'),
    memoryLimitBytes: limited,
    swapBytes: both === undefined ? undefined : less(both, memoryBytes),
    swapLimitBytes: bothLimit === undefined || bothLimit >= noLimit ? undefined : less(bothLimit, limited ?? 0n),
    processes: number(directoryOf('pids'), 'pids.current') ?? 0n,
    processLimit: number(directoryOf('pids'), 'pids.max'),
    kernelMemoryBytes: number(memory, 'memory.kmem.usage_in_bytes') ?? 0n,
    ioReadBytes: sumBlocks(blockBytes, 'Read'),
    ioWriteBytes: sumBlocks(blockBytes, 'Write'),
    ioReads: sumBlocks(blockCounts, 'Read'),
    ioWrites: sumBlocks(blockCounts, 'Write'),
    // Told by the v2 tree beside the others, when there is one.
    ...readPressures(directoryOf('unified')),
  };
}

function readV2(directory: string): CgroupUsage {
  const statistics = table(directory, 'memory.stat');
  const cpu = table(directory, 'cpu.stat');
  const io = text(directory, 'io.stat');
  const memoryBytes = number(directory, 'memory.current') ?? 0n;
  return {
    cpuNs: cpu('usage_usec') * 1000n,
    cpuUserNs: cpu('user_usec') * 1000n,
    cpuSystemNs: cpu('system_usec') * 1000n,
    cpuPeriods: cpu('nr_periods'),
    cpuThrottledPeriods: cpu('nr_throttled'),
    cpuThrottledNs: cpu('throttled_usec') * 1000n,
    memoryBytes,
    memoryMaximumBytes: number(directory, 'memory.peak') ?? 0n,
    memoryFailures: table(directory, 'memory.events')('max'),
    workingSetBytes: less(memoryBytes, statistics('inactive_file')),
    rssBytes: statistics('anon'),
    cacheBytes: statistics('file'),
    mappedFileBytes: statistics('file_mapped'),
    pageFaults: statistics('pgfault'),
    majorPageFaults: statistics('pgmajfault'),
    memoryLimitBytes: number(directory, 'memory.max'),
    swapBytes: number(directory, 'memory.swap.current'),
    swapLimitBytes: number(directory, 'memory.swap.max'),
    processes: number(directory, 'pids.current') ?? 0n,
    processLimit: number(directory, 'pids.max'),
    kernelMemoryBytes: statistics('kernel'),
    ioReadBytes: sumFields(io, 'rbytes'),
    ioWriteBytes: sumFields(io, 'wbytes'),
    ioReads: sumFields(io, 'rios'),
    ioWrites: sumFields(io, 'wios'),
    ...readPressures(directory),
  };
}

function readPressures(
  directory: string | undefined,
): Pick<CgroupUsage, 'cpuPressure' | 'memoryPressure' | 'ioPressure'> {
  return {
    cpuPressure: parsePressure(text(directory, 'cpu.pressure')),
    memoryPressure: parsePressure(text(directory, 'memory.pressure')),
    ioPressure: parsePressure(text(directory, 'io.pressure')),
  };
}

/** Parses a pressure file; undefined when the kernel keeps none. */
export function parsePressure(content: string | undefined): Pressure | undefined {
  if (!content) return undefined;
  const line = (name: string): PressureLine => {
    const match = new RegExp(`^${name} avg10=([\\d.]+) avg60=([\\d.]+) avg300=([\\d.]+) total=(\\d+)`, 'm').exec(
      content,
    );
    return {
      average10: Number(match?.[1] ?? 0),
      average60: Number(match?.[2] ?? 0),
      average300: Number(match?.[3] ?? 0),
      totalUs: BigInt(match?.[4] ?? 0),
    };
  };
  return { some: line('some'), full: line('full') };
}
