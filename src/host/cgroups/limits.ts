/** Limits of a cgroup; what is undefined stays as it is. */
export interface CgroupLimits {
  /** Weight as in v1, 2 to 262144; on v2 it is converted. */
  cpuShares?: number;
  /** Microseconds of processor time in each period; negative means no limit. */
  cpuQuotaUs?: number;
  cpuPeriodUs?: number;
  /** Bytes; negative means no limit. */
  memoryBytes?: number;
  /** Bytes of memory and swap together, as in v1; negative means no limit. */
  memoryAndSwapBytes?: number;
  /** Processes and threads; negative means no limit. */
  pids?: number;
  /** Processors and memory nodes as lists: `0-2,4`. */
  cpusetCpus?: string;
  cpusetMems?: string;
  hugepages?: readonly { pageSize: string; bytes: bigint }[];
  /** v2 files and values as they are. */
  unified?: Readonly<Record<string, string>>;
}

/** One file to write. */
export interface LimitWrite {
  controller: string;
  file: string;
  value: string;
  /** What does not matter: that the file is not there, or that it refuses too. Default: nothing. */
  lenient?: 'missing' | 'refused' | undefined;
}

/** A v1 processor weight (2 to 262144) as a v2 one (1 to 10000). */
export function sharesToWeight(shares: number): number {
  return Math.min(10_000, Math.max(1, Math.floor(1 + ((Math.max(2, shares) - 2) * 9999) / 262_142)));
}

/** The files that set the limits, in the order in which they must be written. */
export function limitWrites(limits: CgroupLimits, v2: boolean): LimitWrite[] {
  return v2 ? v2Writes(limits) : v1Writes(limits);
}

const orMax = (value: number): string => (value < 0 ? 'max' : String(value));

type Add = (controller: string, file: string, value: string | undefined, lenient?: LimitWrite['lenient']) => void;

function collect(fill: (add: Add) => void): LimitWrite[] {
  const writes: LimitWrite[] = [];
  fill((controller, file, value, lenient) => {
    if (value !== undefined) writes.push({ controller, file, value, lenient });
  });
  return writes;
}

const text = (value: number | undefined): string | undefined => (value === undefined ? undefined : String(value));

function v1Writes(limits: CgroupLimits): LimitWrite[] {
  if (Object.keys(limits.unified ?? {}).length > 0)
    throw new Error('unified cgroup settings need cgroup v2, and this machine has v1');
  return collect((add) => {
    add('cpu', 'cpu.shares', text(limits.cpuShares));
    // A longer period lets a larger quota in, a shorter one lets none in that is too small: the quota goes last.
    add('cpu', 'cpu.cfs_period_us', text(limits.cpuPeriodUs));
    add('cpu', 'cpu.cfs_quota_us', text(limits.cpuQuotaUs));
    // The sum may never be below the memory: raising both goes from the sum down, lowering both from the memory up.
    if (limits.memoryBytes !== undefined)
      add('memory', 'memory.memsw.limit_in_bytes', text(limits.memoryAndSwapBytes), 'refused');
    add('memory', 'memory.limit_in_bytes', text(limits.memoryBytes));
    // Without swap accounting the file is not there.
    add('memory', 'memory.memsw.limit_in_bytes', text(limits.memoryAndSwapBytes), 'missing');
    add('pids', 'pids.max', limits.pids === undefined ? undefined : orMax(limits.pids));
    addCommon(add, limits, 'limit_in_bytes');
  });
}

function v2Writes(limits: CgroupLimits): LimitWrite[] {
  return collect((add) => {
    add('cpu', 'cpu.weight', limits.cpuShares ? String(sharesToWeight(limits.cpuShares)) : undefined);
    if (limits.cpuQuotaUs !== undefined || limits.cpuPeriodUs !== undefined) {
      const quota = limits.cpuQuotaUs === undefined ? 'max' : orMax(limits.cpuQuotaUs);
      add('cpu', 'cpu.max', `${quota} ${limits.cpuPeriodUs ?? 100_000}`);
    }
    add('memory', 'memory.max', limits.memoryBytes === undefined ? undefined : orMax(limits.memoryBytes));
    const swap = swapOf(limits);
    add('memory', 'memory.swap.max', swap === undefined ? undefined : orMax(swap), 'missing');
    add('pids', 'pids.max', limits.pids === undefined ? undefined : orMax(limits.pids));
    addCommon(add, limits, 'max');
    for (const [file, value] of Object.entries(limits.unified ?? {})) {
      if (!/^[a-z]+\.[\w.]+$/.test(file)) throw new Error(`"${file}" is no file of a cgroup`);
      add('unified', file, value);
    }
  });
}

/** v2 limits swap alone, where v1 limits the sum. */
function swapOf({ memoryAndSwapBytes, memoryBytes }: CgroupLimits): number | undefined {
  if (memoryAndSwapBytes === undefined || memoryAndSwapBytes < 0) return memoryAndSwapBytes;
  return Math.max(0, memoryAndSwapBytes - Math.max(0, memoryBytes ?? 0));
}

function addCommon(add: Add, limits: CgroupLimits, hugepageFile: string): void {
  add('cpuset', 'cpuset.cpus', limits.cpusetCpus || undefined);
  add('cpuset', 'cpuset.mems', limits.cpusetMems || undefined);
  for (const { pageSize, bytes } of limits.hugepages ?? [])
    add('hugetlb', `hugetlb.${pageSize}.${hugepageFile}`, String(bytes), bytes === 0n ? 'missing' : undefined);
}
