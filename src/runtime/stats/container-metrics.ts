import type { CgroupDetails, CgroupUsage, Pressure } from '../../host/cgroups/index.ts';
import type { ContainerRecord } from '../store/container-record.ts';

/** How a metric goes: only up, or up and down. */
export type MetricKind = 'counter' | 'gauge';

/** One value of a metric, with the values of the metric's own labels. */
interface Row {
  value: bigint;
  labels?: readonly string[];
}

/** One metric of a container: its name as cAdvisor has it, what it means, and where its values come from. */
export interface ContainerMetric {
  name: string;
  kind: MetricKind;
  help: string;
  /** Labels beyond those of all metrics. */
  labelKeys: readonly string[];
  rows: (facts: ContainerFacts) => Row[];
}

/** What is known of a container when its metrics are made. */
export interface ContainerFacts {
  usage: CgroupUsage;
  details: CgroupDetails;
  record: ContainerRecord;
  /** The writable layer. */
  disk: { bytes: bigint; inodes: bigint };
  /** The file system on which writable layers are. */
  filesystem: { device: string; sizeBytes: bigint; freeInodes: bigint };
  processes: { count: bigint; openFiles: bigint; sockets: bigint };
  /** Soft limits of its first process, by name. */
  softLimits: ReadonlyMap<string, bigint>;
  outOfMemoryKills: bigint;
  /** `/dev/sda` for `8:0`. */
  deviceName: (device: string) => string;
  nowNs: bigint;
}

const seconds = (ns: bigint): bigint => ns / 1_000_000_000n;

/** A metric of one value; undefined where there is none. */
function single(
  kind: MetricKind,
  name: string,
  help: string,
  value: (facts: ContainerFacts) => bigint | undefined,
): ContainerMetric {
  const rows = (facts: ContainerFacts): Row[] => {
    const found = value(facts);
    return found === undefined ? [] : [{ value: found }];
  };
  return { name, kind, help, labelKeys: [], rows };
}

/** A metric with a value for each of several things, which its own labels tell apart. */
function many(
  kind: MetricKind,
  name: string,
  help: string,
  labelKeys: readonly string[],
  rows: ContainerMetric['rows'],
): ContainerMetric {
  return { name, kind, help, labelKeys, rows };
}

/** A metric with a value for each block device. */
function perDevice(
  name: string,
  help: string,
  value: (device: CgroupDetails['devices'][number]) => bigint,
): ContainerMetric {
  return many('counter', name, help, ['device'], ({ details, deviceName }) =>
    details.devices.map((one) => ({ labels: [deviceName(one.device)], value: value(one) })),
  );
}

/** A metric of the writable layer or of the file system that it is on. */
function ofLayer(name: string, help: string, value: (facts: ContainerFacts) => bigint): ContainerMetric {
  return many('gauge', name, help, ['device'], (facts) => [{ labels: [facts.filesystem.device], value: value(facts) }]);
}

/** Time spent waiting for a resource; nothing where the kernel keeps no account of it. */
function pressure(
  resource: 'cpu' | 'memory' | 'io',
  share: 'waiting' | 'stalled',
  pick: (usage: CgroupUsage) => Pressure | undefined,
): ContainerMetric {
  const who = share === 'waiting' ? 'some task' : 'every task';
  const what = { cpu: 'a processor', memory: 'memory', io: 'input or output' }[resource];
  return single(
    'counter',
    `container_pressure_${resource}_${share}_seconds_total`,
    `Time in which ${who} waited for ${what}, seconds.`,
    ({ usage }) => {
      const line = pick(usage)?.[share === 'waiting' ? 'some' : 'full'];
      return line && line.totalUs / 1_000_000n;
    },
  );
}

const cpu: ContainerMetric[] = [
  single('counter', 'container_cpu_usage_seconds_total', 'Processor time used, seconds.', ({ usage }) =>
    seconds(usage.cpuNs),
  ),
  single('counter', 'container_cpu_user_seconds_total', 'Processor time used in user mode, seconds.', ({ usage }) =>
    seconds(usage.cpuUserNs),
  ),
  single('counter', 'container_cpu_system_seconds_total', 'Processor time used in the kernel, seconds.', ({ usage }) =>
    seconds(usage.cpuSystemNs),
  ),
  single(
    'counter',
    'container_cpu_cfs_periods_total',
    'Periods in which a processor limit applied.',
    ({ usage }) => usage.cpuPeriods,
  ),
  single(
    'counter',
    'container_cpu_cfs_throttled_periods_total',
    'Periods in which the limit was reached.',
    ({ usage }) => usage.cpuThrottledPeriods,
  ),
  single('counter', 'container_cpu_cfs_throttled_seconds_total', 'Time held back by the limit, seconds.', ({ usage }) =>
    seconds(usage.cpuThrottledNs),
  ),
  single('gauge', 'container_spec_cpu_shares', 'Processor weight.', ({ details }) => details.cpuShares),
  single(
    'gauge',
    'container_spec_cpu_period',
    'Period of the processor limit, microseconds.',
    ({ details }) => details.cpuPeriodUs,
  ),
  single(
    'gauge',
    'container_spec_cpu_quota',
    'Processor time allowed per period, microseconds.',
    ({ details }) => details.cpuQuotaUs,
  ),
];

const memory: ContainerMetric[] = [
  single('gauge', 'container_memory_usage_bytes', 'Memory in use, with caches.', ({ usage }) => usage.memoryBytes),
  single(
    'gauge',
    'container_memory_max_usage_bytes',
    'Most memory ever in use.',
    ({ usage }) => usage.memoryMaximumBytes,
  ),
  single(
    'gauge',
    'container_memory_working_set_bytes',
    'Memory that cannot be taken back easily.',
    ({ usage }) => usage.workingSetBytes,
  ),
  single('gauge', 'container_memory_rss', 'Anonymous memory.', ({ usage }) => usage.rssBytes),
  single('gauge', 'container_memory_cache', 'File pages in memory.', ({ usage }) => usage.cacheBytes),
  single('gauge', 'container_memory_mapped_file', 'Mapped file pages in memory.', ({ usage }) => usage.mappedFileBytes),
  single('gauge', 'container_memory_swap', 'Memory in swap.', ({ usage }) => usage.swapBytes ?? 0n),
  single(
    'gauge',
    'container_memory_kernel_usage',
    'Memory that the kernel uses for it.',
    ({ usage }) => usage.kernelMemoryBytes,
  ),
  single(
    'counter',
    'container_memory_failcnt',
    'Times that the memory limit was reached.',
    ({ usage }) => usage.memoryFailures,
  ),
  many('counter', 'container_memory_failures_total', 'Page faults.', ['failure_type', 'scope'], ({ usage }) => [
    { labels: ['pgfault', 'hierarchy'], value: usage.pageFaults },
    { labels: ['pgmajfault', 'hierarchy'], value: usage.majorPageFaults },
  ]),
  single(
    'counter',
    'container_oom_events_total',
    'Processes killed for want of memory.',
    ({ outOfMemoryKills }) => outOfMemoryKills,
  ),
  single(
    'gauge',
    'container_spec_memory_limit_bytes',
    'Memory limit; 0 for none.',
    ({ usage }) => usage.memoryLimitBytes ?? 0n,
  ),
  single(
    'gauge',
    'container_spec_memory_reservation_limit_bytes',
    'Memory reservation; 0 for none.',
    ({ details }) => details.memoryReservationBytes ?? 0n,
  ),
  single(
    'gauge',
    'container_spec_memory_swap_limit_bytes',
    'Limit of swap; 0 for none.',
    ({ usage }) => usage.swapLimitBytes ?? 0n,
  ),
  many('gauge', 'container_hugetlb_usage_bytes', 'Huge pages in use.', ['pagesize'], ({ details }) =>
    details.hugepages.map(({ pageSize, bytes }) => ({ labels: [pageSize], value: bytes })),
  ),
  many('gauge', 'container_hugetlb_max_usage_bytes', 'Most huge pages ever in use.', ['pagesize'], ({ details }) =>
    details.hugepages.flatMap(({ pageSize, maximumBytes: value }) =>
      value === undefined ? [] : [{ labels: [pageSize], value }],
    ),
  ),
];

const processes: ContainerMetric[] = [
  single('gauge', 'container_processes', 'Processes that run.', (facts) => facts.processes.count),
  single('gauge', 'container_threads', 'Threads that run.', ({ usage }) => usage.processes),
  single(
    'gauge',
    'container_threads_max',
    'Threads that may run; 0 for no limit.',
    ({ usage }) => usage.processLimit ?? 0n,
  ),
  single('gauge', 'container_file_descriptors', 'Open files of all processes.', (facts) => facts.processes.openFiles),
  single('gauge', 'container_sockets', 'Open sockets of all processes.', (facts) => facts.processes.sockets),
  many('gauge', 'container_ulimits_soft', 'Soft limits of the first process.', ['ulimit'], ({ softLimits }) =>
    [...softLimits].map(([name, value]) => ({ labels: [name], value })),
  ),
  single(
    'gauge',
    'container_start_time_seconds',
    'When it was started, seconds since 1970.',
    ({ record: { phase } }) => (phase.name === 'running' ? seconds(BigInt(phase.startedAtNs)) : undefined),
  ),
  single('gauge', 'container_last_seen', 'When it was seen last, seconds since 1970.', ({ nowNs }) => seconds(nowNs)),
];

const disk: ContainerMetric[] = [
  many(
    'counter',
    'container_blkio_device_usage_total',
    'Bytes read from and written to block devices.',
    ['device', 'major', 'minor', 'operation'],
    ({ details, deviceName }) =>
      details.devices.flatMap(({ device, readBytes, writeBytes }) => {
        const labels = [deviceName(device), ...device.split(':')];
        return [
          { labels: [...labels, 'Read'], value: readBytes },
          { labels: [...labels, 'Write'], value: writeBytes },
        ];
      }),
  ),
  perDevice('container_fs_reads_bytes_total', 'Bytes read from block devices.', ({ readBytes }) => readBytes),
  perDevice('container_fs_writes_bytes_total', 'Bytes written to block devices.', ({ writeBytes }) => writeBytes),
  perDevice('container_fs_reads_total', 'Reads from block devices.', ({ reads }) => reads),
  perDevice('container_fs_writes_total', 'Writes to block devices.', ({ writes }) => writes),
  ofLayer('container_fs_usage_bytes', 'Bytes in the writable layer.', (facts) => facts.disk.bytes),
  ofLayer('container_fs_inodes_total', 'Files in the writable layer.', (facts) => facts.disk.inodes),
  ofLayer(
    'container_fs_limit_bytes',
    'Size of the file system of the writable layer.',
    ({ filesystem }) => filesystem.sizeBytes,
  ),
  ofLayer(
    'container_fs_inodes_free',
    'Files that the file system can still take.',
    ({ filesystem }) => filesystem.freeInodes,
  ),
];

/** Every metric of a container. */
export const containerMetrics: readonly ContainerMetric[] = [
  ...cpu,
  ...memory,
  ...processes,
  ...disk,
  ...(['waiting', 'stalled'] as const).flatMap((share) => [
    pressure('cpu', share, ({ cpuPressure }) => cpuPressure),
    pressure('memory', share, ({ memoryPressure }) => memoryPressure),
    pressure('io', share, ({ ioPressure }) => ioPressure),
  ]),
];
