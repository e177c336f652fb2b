import type { CgroupDetails, CgroupUsage, Pressure } from '../../host/cgroups/index.ts';
import type { TreeUsage } from './disk-usage.ts';
import type { InterfaceUsage } from './network-usage.ts';
import type { FileSystemUsage } from './node-usage.ts';

/** A cgroup with everything that can be told of it. */
export interface Subject {
  labels: Record<string, string>;
  atMs: number;
  startedAt: number;
  usage: CgroupUsage;
  details: CgroupDetails | undefined;
  outOfMemoryKills: number;
  processes: ProcessCounts | undefined;
  network: readonly InterfaceUsage[] | undefined;
  layer: (TreeUsage & { of: FileSystemUsage; device: string }) | undefined;
}

/** What runs in a cgroup. */
export interface ProcessCounts {
  processes: number;
  descriptors: number;
  sockets: number;
}

/** One series name of cAdvisor, and how its value is found. Data. */
export interface ContainerValue {
  name: string;
  type: 'counter' | 'gauge';
  help: string;
  /** Beside those of every series. */
  labels?: Record<string, string>;
  /** Nothing where it is not known; a list for one value by further labels. */
  read(subject: Subject): number | { labels: Record<string, string>; value: number }[] | undefined;
}

type Read = ContainerValue['read'];

const counter = (name: string, help: string, read: Read, labels?: Record<string, string>): ContainerValue => ({
  ...{ name, type: 'counter', help, read },
  ...(labels ? { labels } : {}),
});
const gauge = (name: string, help: string, read: Read): ContainerValue => ({ name, type: 'gauge', help, read });
const seconds = (ns: bigint): number => Number(ns) / 1e9;
const whenLimited =
  (read: Read): Read =>
  (subject) =>
    subject.details?.cpuQuotaUs === undefined ? undefined : read(subject);

const processor: ContainerValue[] = [
  counter('container_cpu_usage_seconds_total', 'Processor time', ({ usage }) => seconds(usage.cpuNs), { cpu: 'total' }),
  counter('container_cpu_user_seconds_total', 'Processor time of programs', ({ usage }) => seconds(usage.cpuUserNs)),
  counter('container_cpu_system_seconds_total', 'Processor time of the kernel', ({ usage }) =>
    seconds(usage.cpuSystemNs),
  ),
  counter(
    'container_cpu_cfs_periods_total',
    'Periods of the limit that have passed',
    whenLimited(({ usage }) => Number(usage.cpuPeriods)),
  ),
  counter(
    'container_cpu_cfs_throttled_periods_total',
    'Periods in which the limit held it up',
    whenLimited(({ usage }) => Number(usage.cpuThrottledPeriods)),
  ),
  counter(
    'container_cpu_cfs_throttled_seconds_total',
    'Time for which the limit held it up',
    whenLimited(({ usage }) => seconds(usage.cpuThrottledNs)),
  ),
  gauge('container_cpu_load_average_10s', 'Not measured: always 0', () => 0),
];

const memory: ContainerValue[] = [
  gauge('container_memory_cache', 'Bytes of files in memory', ({ usage }) => Number(usage.cacheBytes)),
  gauge('container_memory_rss', 'Bytes of anonymous memory', ({ usage }) => Number(usage.rssBytes)),
  gauge('container_memory_mapped_file', 'Bytes of mapped files', ({ usage }) => Number(usage.mappedFileBytes)),
  gauge('container_memory_swap', 'Bytes of swap', ({ usage }) => Number(usage.swapBytes ?? 0n)),
  gauge('container_memory_usage_bytes', 'All bytes of memory', ({ usage }) => Number(usage.memoryBytes)),
  gauge('container_memory_max_usage_bytes', 'The most there ever were', ({ usage }) =>
    Number(usage.memoryMaximumBytes),
  ),
  gauge('container_memory_working_set_bytes', 'Memory that is in use now', ({ usage }) =>
    Number(usage.workingSetBytes),
  ),
  gauge('container_memory_kernel_usage', 'Bytes of the kernel', ({ usage }) => Number(usage.kernelMemoryBytes)),
  counter('container_memory_failcnt', 'How often the limit was hit', ({ usage }) => Number(usage.memoryFailures)),
  counter('container_memory_failures_total', 'Page faults', ({ usage }) => [
    { labels: { failure_type: 'pgfault', scope: 'hierarchy' }, value: Number(usage.pageFaults) },
    { labels: { failure_type: 'pgmajfault', scope: 'hierarchy' }, value: Number(usage.majorPageFaults) },
    { labels: { failure_type: 'pgfault', scope: 'container' }, value: Number(usage.pageFaults) },
    { labels: { failure_type: 'pgmajfault', scope: 'container' }, value: Number(usage.majorPageFaults) },
  ]),
  counter('container_oom_events_total', 'Processes that were killed for want of memory', (subject) =>
    subject.labels['container'] ? subject.outOfMemoryKills : undefined,
  ),
];

const networkValue = (
  name: string,
  help: string,
  key: 'rxBytes' | 'rxPackets' | 'rxErrors' | 'rxDropped' | 'txBytes' | 'txPackets' | 'txErrors' | 'txDropped',
): ContainerValue =>
  counter(`container_network_${name}_total`, help, ({ network }) =>
    network?.map((one) => ({ labels: { interface: one.name }, value: one[key] })),
  );

const network: ContainerValue[] = [
  networkValue('receive_bytes', 'Bytes that came in', 'rxBytes'),
  networkValue('receive_packets', 'Packets that came in', 'rxPackets'),
  networkValue('receive_packets_dropped', 'Packets that came in and were dropped', 'rxDropped'),
  networkValue('receive_errors', 'Errors of what came in', 'rxErrors'),
  networkValue('transmit_bytes', 'Bytes that went out', 'txBytes'),
  networkValue('transmit_packets', 'Packets that went out', 'txPackets'),
  networkValue('transmit_packets_dropped', 'Packets that were to go out and were dropped', 'txDropped'),
  networkValue('transmit_errors', 'Errors of what went out', 'txErrors'),
];

const deviceValue = (
  name: string,
  help: string,
  key: 'readBytes' | 'writeBytes' | 'reads' | 'writes',
): ContainerValue =>
  counter(`container_fs_${name}_total`, help, ({ details }) =>
    details?.devices.map((one) => ({ labels: { device: one.device }, value: Number(one[key]) })),
  );

const layer = (name: string, help: string, value: (of: NonNullable<Subject['layer']>) => number): ContainerValue =>
  gauge(`container_fs_${name}`, help, (subject) =>
    subject.layer ? [{ labels: { device: subject.layer.device }, value: value(subject.layer) }] : undefined,
  );

const disks: ContainerValue[] = [
  deviceValue('reads_bytes', 'Bytes read from a device', 'readBytes'),
  deviceValue('writes_bytes', 'Bytes written to a device', 'writeBytes'),
  deviceValue('reads', 'Reads of a device', 'reads'),
  deviceValue('writes', 'Writes to a device', 'writes'),
  counter('container_blkio_device_usage_total', 'Bytes to and from a device', ({ details }) =>
    details?.devices.flatMap(({ device, readBytes, writeBytes }) => {
      const [major = '', minor = ''] = device.split(':');
      return [
        { labels: { device: '', major, minor, operation: 'Read' }, value: Number(readBytes) },
        { labels: { device: '', major, minor, operation: 'Write' }, value: Number(writeBytes) },
      ];
    }),
  ),
  layer('usage_bytes', 'Bytes of the writable layer', ({ bytes }) => bytes),
  layer('limit_bytes', 'Bytes that it could have', ({ of }) => of.capacityBytes),
  layer('inodes_total', 'Inodes that it could have', ({ of }) => of.inodes),
  layer('inodes_free', 'Inodes that are free', ({ of }) => of.inodesFree),
];

const processes: ContainerValue[] = [
  gauge('container_processes', 'Processes', (subject) => subject.processes?.processes),
  gauge('container_file_descriptors', 'Open files', (subject) => subject.processes?.descriptors),
  gauge('container_sockets', 'Open sockets', (subject) => subject.processes?.sockets),
  gauge('container_threads', 'Processes and threads', ({ usage }) => Number(usage.processes)),
  gauge('container_threads_max', 'How many there may be; 0: no limit', ({ usage }) => Number(usage.processLimit ?? 0n)),
];

const specification: ContainerValue[] = [
  gauge('container_start_time_seconds', 'When it started, seconds since 1970', ({ startedAt }) => startedAt / 1000),
  gauge('container_last_seen', 'When it was looked at, seconds since 1970', ({ atMs }) => Math.floor(atMs / 1000)),
  gauge('container_spec_cpu_period', 'Period of the limit, microseconds', ({ details }) =>
    details ? Number(details.cpuPeriodUs) : undefined,
  ),
  gauge('container_spec_cpu_quota', 'Microseconds in each period', ({ details }) =>
    details?.cpuQuotaUs === undefined ? undefined : Number(details.cpuQuotaUs),
  ),
  gauge('container_spec_cpu_shares', 'Weight among others', ({ details }) =>
    details ? Number(details.cpuShares) : undefined,
  ),
  gauge('container_spec_memory_limit_bytes', 'Memory it may have; 0: no limit', ({ usage }) =>
    Number(usage.memoryLimitBytes ?? 0n),
  ),
  gauge('container_spec_memory_swap_limit_bytes', 'Swap it may have; 0: no limit', ({ usage }) =>
    Number(usage.swapLimitBytes ?? 0n),
  ),
  gauge('container_spec_memory_reservation_limit_bytes', 'Memory that is taken back last', ({ details }) =>
    details ? Number(details.memoryReservationBytes ?? 0n) : undefined,
  ),
];

const pressure = (name: 'cpu' | 'memory' | 'io', of: (subject: Subject) => Pressure | undefined): ContainerValue[] => [
  counter(`container_pressure_${name}_waiting_seconds_total`, `Time in which some task waited (${name})`, (subject) => {
    const found = of(subject);
    return found && Number(found.some.totalUs) / 1e6;
  }),
  counter(`container_pressure_${name}_stalled_seconds_total`, `Time in which all tasks waited (${name})`, (subject) => {
    const found = of(subject);
    return found && Number(found.full.totalUs) / 1e6;
  }),
];

/** Everything but pressure. */
export const containerValues: readonly ContainerValue[] = [
  ...processor,
  ...memory,
  ...network,
  ...disks,
  ...processes,
  ...specification,
];

/** Pressure, where the kernel tells it. */
export const pressureValues: readonly ContainerValue[] = [
  ...pressure('cpu', ({ usage }) => usage.cpuPressure),
  ...pressure('memory', ({ usage }) => usage.memoryPressure),
  ...pressure('io', ({ usage }) => usage.ioPressure),
];
