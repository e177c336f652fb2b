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

/** One file to write. An optional one may be missing or refuse. */
export interface LimitWrite {
  controller: string;
  file: string;
  value: string;
  optional?: boolean;
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

function v1Writes(limits: CgroupLimits): LimitWrite[] {
  const writes: LimitWrite[] = [];
  const add = (controller: string, file: string, value: string | number | undefined, optional = false): void => {
    if (value !== undefined) writes.push({ controller, file, value: String(value), optional });
  };
  add('cpu', 'cpu.shares', limits.cpuShares);
  add('cpu', 'cpu.cfs_period_us', limits.cpuPeriodUs);
  add('cpu', 'cpu.cfs_quota_us', limits.cpuQuotaUs);
  add('memory', 'memory.limit_in_bytes', limits.memoryBytes);
  // Without swap accounting the file is not there.
  add('memory', 'memory.memsw.limit_in_bytes', limits.memoryAndSwapBytes, true);
  if (limits.memoryBytes !== undefined && limits.memoryAndSwapBytes !== undefined)
    // Raising both: the first write fails while the old sum is below the new limit, so it is written again.
    writes.unshift({
      controller: 'memory',
      file: 'memory.memsw.limit_in_bytes',
      value: String(limits.memoryAndSwapBytes),
      optional: true,
    });
  add('pids', 'pids.max', limits.pids === undefined ? undefined : orMax(limits.pids));
  add('cpuset', 'cpuset.cpus', limits.cpusetCpus || undefined);
  add('cpuset', 'cpuset.mems', limits.cpusetMems || undefined);
  for (const { pageSize, bytes } of limits.hugepages ?? [])
    add('hugetlb', `hugetlb.${pageSize}.limit_in_bytes`, String(bytes), bytes === 0n);
  if (Object.keys(limits.unified ?? {}).length > 0)
    throw new Error('unified cgroup settings need cgroup v2, and this machine has v1');
  return writes;
}

function v2Writes(limits: CgroupLimits): LimitWrite[] {
  const writes: LimitWrite[] = [];
  const add = (controller: string, file: string, value: string | undefined, optional = false): void => {
    if (value !== undefined) writes.push({ controller, file, value, optional });
  };
  add('cpu', 'cpu.weight', limits.cpuShares ? String(sharesToWeight(limits.cpuShares)) : undefined);
  if (limits.cpuQuotaUs !== undefined || limits.cpuPeriodUs !== undefined)
    add(
      'cpu',
      'cpu.max',
      `${limits.cpuQuotaUs === undefined ? 'max' : orMax(limits.cpuQuotaUs)} ${limits.cpuPeriodUs ?? 100_000}`,
    );
  add('memory', 'memory.max', limits.memoryBytes === undefined ? undefined : orMax(limits.memoryBytes));
  if (limits.memoryAndSwapBytes !== undefined) {
    const swap =
      limits.memoryAndSwapBytes < 0
        ? -1
        : Math.max(0, limits.memoryAndSwapBytes - Math.max(0, limits.memoryBytes ?? 0));
    add('memory', 'memory.swap.max', orMax(swap), true);
  }
  add('pids', 'pids.max', limits.pids === undefined ? undefined : orMax(limits.pids));
  add('cpuset', 'cpuset.cpus', limits.cpusetCpus || undefined);
  add('cpuset', 'cpuset.mems', limits.cpusetMems || undefined);
  for (const { pageSize, bytes } of limits.hugepages ?? [])
    add('hugetlb', `hugetlb.${pageSize}.max`, String(bytes), bytes === 0n);
  for (const [file, value] of Object.entries(limits.unified ?? {})) add('unified', file, value);
  return writes;
}
