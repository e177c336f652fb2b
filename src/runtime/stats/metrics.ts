import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { readdir, readFile, readlink, statfs } from 'node:fs/promises';
import { basename } from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type ContainerMetricsSchema,
  type Metric,
  type MetricDescriptorSchema,
  MetricSchema,
  MetricType,
  type PodSandboxMetricsSchema,
} from '../../api/cri/index.ts';
import type { RecordContext } from '../context.ts';
import { toNanoseconds } from '../identifiers.ts';
import type { ContainerRecord } from '../store/container-record.ts';
import type { SandboxRecord } from '../store/sandbox-record.ts';
import { type ContainerFacts, containerMetrics } from './container-metrics.ts';
import { sandboxLinks } from './container-stats.ts';
import { linkMetrics } from './link-metrics.ts';

/** Labels of every metric, as cAdvisor has them in a cluster: `id` is the cgroup, `name` the id in the CRI. */
const baseLabels = ['container', 'id', 'image', 'name', 'namespace', 'pod'] as const;

/** All metrics with their labels, in the order of their values' labels. */
export function metricDescriptors(): MessageInitShape<typeof MetricDescriptorSchema>[] {
  type Descriptor = MessageInitShape<typeof MetricDescriptorSchema>;
  return [
    ...containerMetrics.map(
      ({ name, help, labelKeys }): Descriptor => ({ name, help, labelKeys: [...baseLabels, ...labelKeys] }),
    ),
    ...linkMetrics.map(({ name, help }): Descriptor => ({ name, help, labelKeys: [...baseLabels, 'interface'] })),
  ];
}

/** The metrics of a sandbox (its network) and of its running containers. */
export async function sandboxMetrics(
  context: RecordContext,
  sandbox: SandboxRecord,
): Promise<MessageInitShape<typeof PodSandboxMetricsSchema>> {
  const running = context.store.containers
    .list()
    .filter(({ sandboxId, phase }) => sandboxId === sandbox.id && phase.name === 'running');
  const timestamp = toNanoseconds(context.clock.now());
  const { name = '', namespace = '' } = sandbox.config.metadata ?? {};
  const labels = ['', sandbox.cgroupParent, '', sandbox.id, namespace, name];
  return {
    podSandboxId: sandbox.id,
    metrics: sandboxLinks(sandbox).flatMap((link) =>
      linkMetrics.map((one) => {
        const labelValues = [...labels, link.name];
        return metric(one.name, MetricType.COUNTER, { timestamp, labelValues, value: one.value(link.statistics) });
      }),
    ),
    containerMetrics: await Promise.all(running.map((record) => metricsOf(context, sandbox, record, timestamp))),
  };
}

function metric(
  name: string,
  metricType: MetricType,
  { timestamp, labelValues, value }: { timestamp: bigint; labelValues: string[]; value: bigint },
): Metric {
  return create(MetricSchema, { name, timestamp, metricType, labelValues, value: { value } });
}

async function metricsOf(
  context: RecordContext,
  sandbox: SandboxRecord,
  record: ContainerRecord,
  timestamp: bigint,
): Promise<MessageInitShape<typeof ContainerMetricsSchema>> {
  const facts = await factsOf(context, record, timestamp);
  const { metadata, image } = record.config;
  const labels = [
    metadata?.name ?? '',
    record.cgroupPath,
    image?.userSpecifiedImage || image?.image || '',
    record.id,
    sandbox.config.metadata?.namespace ?? '',
    sandbox.config.metadata?.name ?? '',
  ];
  const metrics = facts
    ? containerMetrics.flatMap(({ name, kind, rows }) =>
        rows(facts).map(({ value, labels: own = [] }) => {
          const type = kind === 'counter' ? MetricType.COUNTER : MetricType.GAUGE;
          return metric(name, type, { timestamp, labelValues: [...labels, ...own], value });
        }),
      )
    : [];
  return { containerId: record.id, metrics };
}

/** All that metrics are made of; undefined when the container has just ended. */
async function factsOf(
  context: RecordContext,
  record: ContainerRecord,
  nowNs: bigint,
): Promise<ContainerFacts | undefined> {
  const usage = context.cgroups.usage(record.cgroupPath);
  const details = context.cgroups.details(record.cgroupPath);
  if (!usage || !details || record.phase.name !== 'running') return undefined;
  const { root } = context.settings;
  const pids = context.cgroups.processes(record.cgroupPath);
  const [disk, { blocks, bsize, ffree }, files, softLimits] = await Promise.all([
    context.rootfs.usage(record.id).catch(() => ({ bytes: 0n, inodes: 0n })),
    statfs(root, { bigint: true }),
    openFiles(pids),
    readSoftLimits(record.phase.process.pid),
  ]);
  return {
    usage,
    details,
    record,
    disk,
    filesystem: { device: deviceName(deviceOf(root)), sizeBytes: blocks * bsize, freeInodes: ffree },
    processes: { count: BigInt(pids.length), ...files },
    softLimits,
    outOfMemoryKills: BigInt(context.cgroups.outOfMemoryKills(record.cgroupPath)),
    deviceName,
    nowNs,
  };
}

/** Open files of processes, and how many of them are sockets; processes that end meanwhile are left out. */
async function openFiles(pids: readonly number[]): Promise<{ openFiles: bigint; sockets: bigint }> {
  const lists = pids.map(async (pid) => {
    const names = await readdir(`/proc/${pid}/fd`).catch(() => []);
    return Promise.all(names.map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => '')));
  });
  const all = (await Promise.all(lists)).flat();
  const sockets = all.filter((target) => target.startsWith('socket:'));
  return { openFiles: BigInt(all.length), sockets: BigInt(sockets.length) };
}

/** The soft limit of open files, the one that cAdvisor tells; none when it is not limited. */
async function readSoftLimits(pid: number): Promise<Map<string, bigint>> {
  const text = await readFile(`/proc/${pid}/limits`, 'utf8').catch(() => '');
  const files = /^Max open files\s+(\d+)/m.exec(text)?.[1];
  return new Map(files ? [['max_open_files', BigInt(files)]] : []);
}

/** The device number of the file system of a path: `8:1`. */
function deviceOf(path: string): string {
  const { dev } = statSync(path, { bigint: true });
  // As glibc's gnu_dev_major and gnu_dev_minor take it apart.
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
  return `${major}:${minor}`;
}

/** `/dev/sda` for `8:0`; the number where no block device has it (overlay, tmpfs, btrfs). */
function deviceName(device: string): string {
  try {
    const name = /^DEVNAME=(.+)$/m.exec(readFileSync(`/sys/dev/block/${device}/uevent`, 'utf8'))?.[1];
    return `/dev/${name ?? basename(readlinkSync(`/sys/dev/block/${device}`))}`;
  } catch {
    return device;
  }
}
