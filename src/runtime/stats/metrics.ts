import { readdir, readlink, statfs } from 'node:fs/promises';
import { type Metric, MetricType } from '../../api/cri/index.ts';
import type { CgroupUsage } from '../../host/cgroups/index.ts';
import type { Link } from '../../host/netlink/index.ts';
import type { RuntimeContext } from '../context.ts';
import { toNanoseconds } from '../identifiers.ts';
import type { ContainerRecord } from '../store/container-record.ts';
import type { SandboxRecord } from '../store/sandbox-record.ts';
import { sandboxLinks } from './container-stats.ts';

type Kind = 'counter' | 'gauge';

/** One metric of a container: its name as cAdvisor has it, what it means, and where its value comes from. */
interface ContainerMetric {
  name: string;
  help: string;
  kind: Kind;
  value: (inputs: ContainerInputs) => bigint | undefined;
  /** Labels beyond those of all containers, with their values. */
  labels?: Readonly<Record<string, string>>;
}

interface ContainerInputs {
  usage: CgroupUsage;
  record: ContainerRecord;
  disk: { bytes: bigint; inodes: bigint };
  /** Of the file system on which writable layers are. */
  filesystem: { sizeBytes: bigint; freeInodes: bigint };
  files: { open: bigint; sockets: bigint };
  outOfMemoryKills: bigint;
  nowNs: bigint;
}

const baseLabels = ['id', 'name', 'image'];
const seconds = (ns: bigint): bigint => ns / 1_000_000_000n;

const containerMetrics: readonly ContainerMetric[] = [
  {
    name: 'container_cpu_usage_seconds_total',
    help: 'Processor time used, seconds.',
    kind: 'counter',
    value: ({ usage }) => seconds(usage.cpuNs),
  },
  {
    name: 'container_cpu_user_seconds_total',
    help: 'Processor time used in user mode, seconds.',
    kind: 'counter',
    value: ({ usage }) => seconds(usage.cpuUserNs),
  },
  {
    name: 'container_cpu_system_seconds_total',
    help: 'Processor time used in the kernel, seconds.',
    kind: 'counter',
    value: ({ usage }) => seconds(usage.cpuSystemNs),
  },
  {
    name: 'container_cpu_cfs_periods_total',
    help: 'Periods in which a processor limit applied.',
    kind: 'counter',
    value: ({ usage }) => usage.cpuPeriods,
  },
  {
    name: 'container_cpu_cfs_throttled_periods_total',
    help: 'Periods in which the limit was reached.',
    kind: 'counter',
    value: ({ usage }) => usage.cpuThrottledPeriods,
  },
  {
    name: 'container_cpu_cfs_throttled_seconds_total',
    help: 'Time spent held back by the limit, seconds.',
    kind: 'counter',
    value: ({ usage }) => seconds(usage.cpuThrottledNs),
  },
  {
    name: 'container_memory_usage_bytes',
    help: 'Memory in use, with caches.',
    kind: 'gauge',
    value: ({ usage }) => usage.memoryBytes,
  },
  {
    name: 'container_memory_max_usage_bytes',
    help: 'Most memory ever in use.',
    kind: 'gauge',
    value: ({ usage }) => usage.memoryMaximumBytes,
  },
  {
    name: 'container_memory_working_set_bytes',
    help: 'Memory that cannot be taken back easily.',
    kind: 'gauge',
    value: ({ usage }) => usage.workingSetBytes,
  },
  { name: 'container_memory_rss', help: 'Anonymous memory.', kind: 'gauge', value: ({ usage }) => usage.rssBytes },
  {
    name: 'container_memory_cache',
    help: 'File pages in memory.',
    kind: 'gauge',
    value: ({ usage }) => usage.cacheBytes,
  },
  {
    name: 'container_memory_mapped_file',
    help: 'Mapped file pages in memory.',
    kind: 'gauge',
    value: ({ usage }) => usage.mappedFileBytes,
  },
  {
    name: 'container_memory_swap',
    help: 'Memory in swap.',
    kind: 'gauge',
    value: ({ usage }) => usage.swapBytes ?? 0n,
  },
  {
    name: 'container_memory_failcnt',
    help: 'Times that the memory limit was reached.',
    kind: 'counter',
    value: ({ usage }) => usage.memoryFailures,
  },
  {
    name: 'container_spec_memory_limit_bytes',
    help: 'Memory limit; 0 for none.',
    kind: 'gauge',
    value: ({ usage }) => usage.memoryLimitBytes ?? 0n,
  },
  {
    name: 'container_spec_memory_reservation_limit_bytes',
    help: 'Memory reservation; 0 for none.',
    kind: 'gauge',
    value: () => 0n,
  },
  {
    name: 'container_spec_memory_swap_limit_bytes',
    help: 'Limit of memory and swap; 0 for none.',
    kind: 'gauge',
    value: ({ usage }) => usage.swapLimitBytes ?? 0n,
  },
  {
    name: 'container_spec_cpu_shares',
    help: 'Processor weight.',
    kind: 'gauge',
    value: ({ record }) => record.resources?.cpuShares ?? 0n,
  },
  {
    name: 'container_spec_cpu_period',
    help: 'Period of the processor limit, microseconds.',
    kind: 'gauge',
    value: ({ record }) => record.resources?.cpuPeriod ?? 0n,
  },
  {
    name: 'container_processes',
    help: 'Processes and threads that run.',
    kind: 'gauge',
    value: ({ usage }) => usage.processes,
  },
  { name: 'container_threads', help: 'Threads that run.', kind: 'gauge', value: ({ usage }) => usage.processes },
  {
    name: 'container_fs_usage_bytes',
    help: 'Bytes in the writable layer.',
    kind: 'gauge',
    value: ({ disk }) => disk.bytes,
  },
  {
    name: 'container_fs_inodes_total',
    help: 'Files in the writable layer.',
    kind: 'gauge',
    value: ({ disk }) => disk.inodes,
  },
  {
    name: 'container_start_time_seconds',
    help: 'When it was started, seconds since 1970.',
    kind: 'gauge',
    value: ({ record }) => (record.phase.name === 'running' ? seconds(BigInt(record.phase.startedAtNs)) : undefined),
  },
  {
    name: 'container_last_seen',
    help: 'When it was seen last, seconds since 1970.',
    kind: 'gauge',
    value: ({ nowNs }) => seconds(nowNs),
  },
  {
    name: 'container_blkio_device_usage_total',
    help: 'Bytes read and written on block devices.',
    kind: 'counter',
    value: ({ usage }) => usage.ioReadBytes + usage.ioWriteBytes,
  },
  {
    name: 'container_fs_reads_bytes_total',
    help: 'Bytes read from block devices.',
    kind: 'counter',
    value: ({ usage }) => usage.ioReadBytes,
  },
  {
    name: 'container_fs_writes_bytes_total',
    help: 'Bytes written to block devices.',
    kind: 'counter',
    value: ({ usage }) => usage.ioWriteBytes,
  },
  {
    name: 'container_fs_reads_total',
    help: 'Reads from block devices.',
    kind: 'counter',
    value: ({ usage }) => usage.ioReads,
  },
  {
    name: 'container_fs_writes_total',
    help: 'Writes to block devices.',
    kind: 'counter',
    value: ({ usage }) => usage.ioWrites,
  },
  {
    name: 'container_fs_limit_bytes',
    help: 'Size of the file system of the writable layer.',
    kind: 'gauge',
    value: ({ filesystem }) => filesystem.sizeBytes,
  },
  {
    name: 'container_fs_inodes_free',
    help: 'Files that the file system can still take.',
    kind: 'gauge',
    value: ({ filesystem }) => filesystem.freeInodes,
  },
  {
    name: 'container_file_descriptors',
    help: 'Open files of all processes.',
    kind: 'gauge',
    value: ({ files }) => files.open,
  },
  {
    name: 'container_sockets',
    help: 'Open sockets of all processes.',
    kind: 'gauge',
    value: ({ files }) => files.sockets,
  },
  {
    name: 'container_memory_kernel_usage',
    help: 'Memory that the kernel uses for it.',
    kind: 'gauge',
    value: ({ usage }) => usage.kernelMemoryBytes,
  },
  {
    name: 'container_memory_failures_total',
    help: 'Page faults.',
    kind: 'counter',
    labels: { failure_type: 'pgfault', scope: 'container' },
    value: ({ usage }) => usage.pageFaults,
  },
  {
    name: 'container_oom_events_total',
    help: 'Processes killed for want of memory.',
    kind: 'counter',
    value: ({ outOfMemoryKills }) => outOfMemoryKills,
  },
  {
    name: 'container_threads_max',
    help: 'Threads that may run; 0 for no limit.',
    kind: 'gauge',
    value: ({ usage }) => usage.processLimit ?? 0n,
  },
];

const linkMetrics: readonly { name: string; help: string; value: (link: Link) => bigint }[] = [
  {
    name: 'container_network_receive_bytes_total',
    help: 'Bytes received.',
    value: ({ statistics }) => statistics.rxBytes,
  },
  {
    name: 'container_network_receive_packets_total',
    help: 'Packets received.',
    value: ({ statistics }) => statistics.rxPackets,
  },
  {
    name: 'container_network_receive_errors_total',
    help: 'Errors while receiving.',
    value: ({ statistics }) => statistics.rxErrors,
  },
  {
    name: 'container_network_transmit_bytes_total',
    help: 'Bytes sent.',
    value: ({ statistics }) => statistics.txBytes,
  },
  {
    name: 'container_network_transmit_packets_total',
    help: 'Packets sent.',
    value: ({ statistics }) => statistics.txPackets,
  },
  {
    name: 'container_network_transmit_errors_total',
    help: 'Errors while sending.',
    value: ({ statistics }) => statistics.txErrors,
  },
  {
    name: 'container_network_receive_packets_dropped_total',
    help: 'Packets dropped while receiving.',
    value: ({ statistics }) => statistics.rxDropped,
  },
  {
    name: 'container_network_transmit_packets_dropped_total',
    help: 'Packets dropped while sending.',
    value: ({ statistics }) => statistics.txDropped,
  },
];

/** All metrics with their labels, in the order of their values' labels. */
export function metricDescriptors() {
  return [
    ...containerMetrics.map(({ name, help, labels }) => ({
      name,
      help,
      labelKeys: [...baseLabels, ...Object.keys(labels ?? {})],
    })),
    ...linkMetrics.map(({ name, help }) => ({ name, help, labelKeys: [...baseLabels, 'interface'] })),
  ];
}

const typeOf = (kind: Kind): MetricType => (kind === 'counter' ? MetricType.COUNTER : MetricType.GAUGE);

/** The metrics of a sandbox (its network) and of its running containers. */
export async function sandboxMetrics(context: RuntimeContext, sandbox: SandboxRecord) {
  const running = context.store.containers
    .list()
    .filter(({ sandboxId, phase }) => sandboxId === sandbox.id && phase.name === 'running');
  const timestamp = toNanoseconds(context.clock.now());
  const labels = [sandbox.cgroupParent, sandbox.config.metadata?.name ?? '', ''];
  return {
    podSandboxId: sandbox.id,
    metrics: sandboxLinks(sandbox).flatMap((link) =>
      linkMetrics.map(({ name, value }) => ({
        name,
        timestamp,
        metricType: MetricType.COUNTER,
        labelValues: [...labels, link.name],
        value: { value: value(link) },
      })),
    ),
    containerMetrics: await Promise.all(running.map((record) => metricsOf(context, record, timestamp))),
  };
}

async function metricsOf(context: RuntimeContext, record: ContainerRecord, timestamp: bigint) {
  const usage = context.cgroups.usage(record.cgroupPath);
  const disk = await context.rootfs.usage(record.id).catch(() => ({ bytes: 0n, inodes: 0n }));
  const { blocks, bsize, ffree } = await statfs(context.settings.root, { bigint: true });
  const filesystem = { sizeBytes: blocks * bsize, freeInodes: ffree };
  const files = await openFiles(context.cgroups.processes(record.cgroupPath));
  const outOfMemoryKills = BigInt(context.cgroups.outOfMemoryKills(record.cgroupPath));
  const labelValues = [record.cgroupPath, record.config.metadata?.name ?? '', record.config.image?.image ?? ''];
  const metrics = containerMetrics.flatMap(({ name, kind, value, labels }): Omit<Metric, '$typeName'>[] => {
    const found = usage && value({ usage, record, disk, nowNs: timestamp, filesystem, files, outOfMemoryKills });
    if (found === undefined) return [];
    return [
      {
        name,
        timestamp,
        metricType: typeOf(kind),
        labelValues: [...labelValues, ...Object.values(labels ?? {})],
        value: { $typeName: 'runtime.v1.UInt64Value', value: found },
      },
    ];
  });
  return { containerId: record.id, metrics: metrics as Metric[] };
}

/** Open files of processes, and how many of them are sockets; processes that end meanwhile are left out. */
async function openFiles(pids: readonly number[]): Promise<ContainerInputs['files']> {
  const lists = pids.map(async (pid) => {
    const names = await readdir(`/proc/${pid}/fd`).catch(() => []);
    return Promise.all(names.map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => '')));
  });
  const all = (await Promise.all(lists)).flat();
  return { open: BigInt(all.length), sockets: BigInt(all.filter((target) => target.startsWith('socket:')).length) };
}
