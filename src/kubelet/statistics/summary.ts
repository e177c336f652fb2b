import type { Pressure, PressureLine } from '../../host/cgroups/index.ts';
import type { VolumeStatistics } from '../pods/ports.ts';
import type { StoreUsage } from './image-file-systems.ts';
import { type InterfaceUsage, mainInterface, readInterfaces } from './network-usage.ts';
import type { FileSystemUsage, NodeUsage } from './node-usage.ts';
import type { Statistics } from './statistics.ts';
import type { ContainerUsage, DiskUsage, PodUsage, Usage } from './usage.ts';

/** What the Summary API is made from. */
export interface SummaryOptions {
  statistics: Statistics;
  nodeName: string;
  /** Milliseconds since 1970. */
  now(): number;
}

const apiTime = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');

/**
 * The Summary API (`/stats/summary`, v1alpha1), which autoscalers, eviction and dashboards read.
 * @param only `cpu_and_memory`: leaves out what takes longer
 */
export async function makeSummary(options: SummaryOptions, only?: 'cpu_and_memory'): Promise<object> {
  const { statistics, nodeName, now } = options;
  const pods = await statistics.pods();
  const node = statistics.node();
  const time = apiTime(node.atMs);
  const rate = statistics.rate('node', node.cpuNanoseconds);
  const cpuAndMemory = {
    nodeName,
    systemContainers: systemContainers(statistics, node),
    startTime: apiTime(node.bootMs),
    cpu: {
      time,
      ...(rate === undefined ? {} : { usageNanoCores: rate }),
      usageCoreNanoSeconds: node.cpuNanoseconds,
      ...psi(node.pressure.cpu),
    },
    memory: {
      time,
      availableBytes: node.memoryAvailableBytes,
      usageBytes: node.memoryUsageBytes,
      workingSetBytes: node.memoryWorkingSetBytes,
      rssBytes: node.memoryRssBytes,
      pageFaults: node.pageFaults,
      majorPageFaults: node.majorPageFaults,
      ...psi(node.pressure.memory),
    },
    ...(node.pressure.io ? { io: { time, ...psi(node.pressure.io) } } : {}),
    swap: {
      time,
      swapAvailableBytes: node.swapCapacityBytes - node.swapUsedBytes,
      swapUsageBytes: node.swapUsedBytes,
    },
  };
  if (only) return { node: cpuAndMemory, pods: pods.map((pod) => ({ ...podHead(pod), ...podUsage(pod) })) };
  const [disks, images] = await Promise.all([statistics.disks(pods), statistics.images().catch(() => undefined)]);
  return {
    node: {
      ...cpuAndMemory,
      ...network(readInterfaces('self'), time),
      fs: fileSystem(node.fileSystem, time),
      runtime: {
        ...(images?.image ? { imageFs: store(images.image, time) } : {}),
        ...(images?.container ? { containerFs: store(images.container, time) } : {}),
      },
      rlimit: { time, maxpid: node.maximumProcesses, curproc: node.processes },
    },
    pods: pods.map((pod) => wholePod(pod, disks, node, apiTime(now()))),
  };
}

const podHead = ({ name, namespace, uid, startedAt, containers }: PodUsage) => ({
  podRef: { name, namespace, uid },
  startTime: apiTime(startedAt),
  containers: containers.map((one) => containerHead(one)),
});

const containerHead = ({ name, startedAt, usage }: ContainerUsage) => ({
  name,
  startTime: apiTime(startedAt),
  ...cpuAndMemory(usage),
});

function podUsage({ usage }: PodUsage): object {
  return usage ? { ...cpuAndMemory(usage), process_stats: { process_count: Number(usage.processes) } } : {};
}

function cpuAndMemory(usage: Usage): object {
  const time = apiTime(usage.atMs);
  const limit = usage.memoryLimitBytes;
  return {
    cpu: {
      time,
      ...(usage.cpuNanoCores === undefined ? {} : { usageNanoCores: usage.cpuNanoCores }),
      usageCoreNanoSeconds: Number(usage.cpuNs),
      ...psi(usage.cpuPressure),
    },
    memory: {
      time,
      ...(limit === undefined ? {} : { availableBytes: Math.max(0, Number(limit - usage.workingSetBytes)) }),
      usageBytes: Number(usage.memoryBytes),
      workingSetBytes: Number(usage.workingSetBytes),
      rssBytes: Number(usage.rssBytes),
      pageFaults: Number(usage.pageFaults),
      majorPageFaults: Number(usage.majorPageFaults),
      ...psi(usage.memoryPressure),
    },
    ...(usage.ioPressure ? { io: { time, ...psi(usage.ioPressure) } } : {}),
    ...(usage.swapBytes === undefined ? {} : { swap: swap(usage, time) }),
  };
}

function swap({ swapBytes = 0n, swapLimitBytes }: Usage, time: string): object {
  return {
    time,
    ...(swapLimitBytes === undefined ? {} : { swapAvailableBytes: Math.max(0, Number(swapLimitBytes - swapBytes)) }),
    swapUsageBytes: Number(swapBytes),
  };
}

function wholePod(pod: PodUsage, disks: DiskUsage, node: NodeUsage, time: string): object {
  const volumes = disks.volumes.get(pod.uid) ?? [];
  let [bytes, inodes] = [0, 0];
  const add = (usage: { bytes: number; inodes: number } | undefined) => {
    bytes += usage?.bytes ?? 0;
    inodes += usage?.inodes ?? 0;
  };
  for (const { onNodeDisk, usage } of volumes)
    if (onNodeDisk) add({ bytes: usage.usedBytes ?? 0, inodes: usage.inodesUsed ?? 0 });
  const containers = pod.containers.map((container) => {
    const [layer, logs] = [disks.layers.get(container.id), disks.logs.get(container.id)];
    add(layer);
    add(logs);
    return {
      ...containerHead(container),
      ...(layer ? { rootfs: part(node.fileSystem, layer, time) } : {}),
      ...(logs ? { logs: part(node.fileSystem, logs, time) } : {}),
    };
  });
  return {
    ...podHead(pod),
    containers,
    ...podUsage(pod),
    ...network(pod.network, time),
    ...(volumes.length > 0 ? { volume: volumes.map(volumeSummary) } : {}),
    'ephemeral-storage': part(node.fileSystem, { bytes, inodes }, time),
  };
}

function volumeSummary({ volume, claim, namespace, atMs, usage }: VolumeStatistics): object {
  const { abnormal, ...amounts } = usage;
  return {
    ...{ time: apiTime(atMs), ...amounts, name: volume },
    ...(claim ? { pvcRef: { name: claim, namespace } } : {}),
    ...(abnormal === undefined ? {} : { volumeHealthStats: { abnormal } }),
  };
}

function systemContainers(statistics: Statistics, node: NodeUsage): object[] {
  const { user, system } = process.cpuUsage();
  const { rss } = process.memoryUsage();
  const time = apiTime(node.atMs);
  const nanoseconds = (user + system) * 1000;
  const rate = statistics.rate('kubelet', nanoseconds);
  const kubelet = {
    name: 'kubelet',
    startTime: apiTime(performance.timeOrigin),
    cpu: { time, ...(rate === undefined ? {} : { usageNanoCores: rate }), usageCoreNanoSeconds: nanoseconds },
    memory: { time, usageBytes: rss, workingSetBytes: rss, rssBytes: rss },
  };
  const [root] = statistics.parents();
  const ofCgroups = [
    ['runtime', statistics.runtimeCgroup()],
    ['pods', root],
  ].flatMap(([name, cgroup]) => {
    const usage = cgroup === undefined ? undefined : statistics.usage(cgroup);
    return usage ? [{ name, startTime: apiTime(node.bootMs), ...cpuAndMemory(usage) }] : [];
  });
  return [kubelet, ...ofCgroups];
}

function network(interfaces: readonly InterfaceUsage[] | undefined, time: string): object {
  const main = mainInterface(interfaces ?? []);
  if (!main) return {};
  const short = ({ name, rxBytes, rxErrors, txBytes, txErrors }: InterfaceUsage) => ({
    ...{ name, rxBytes, rxErrors, txBytes, txErrors },
  });
  return { network: { time, ...short(main), interfaces: interfaces!.map(short) } };
}

function fileSystem(usage: FileSystemUsage, time: string): object {
  const { availableBytes, capacityBytes, usedBytes, inodesFree, inodes, inodesUsed } = usage;
  return { time, availableBytes, capacityBytes, usedBytes, inodesFree, inodes, inodesUsed };
}

const store = ({ storeBytes, storeInodes, ...whole }: StoreUsage, time: string): object => ({
  ...fileSystem({ ...whole, usedBytes: storeBytes, inodesUsed: storeInodes }, time),
});

/** What something takes of a file system. */
const part = (whole: FileSystemUsage, usage: { bytes: number; inodes: number }, time: string): object =>
  fileSystem({ ...whole, usedBytes: usage.bytes, inodesUsed: usage.inodes }, time);

/** Pressure as the API has it: totals in nanoseconds. */
function psi(pressure: Pressure | undefined): object {
  if (!pressure) return {};
  const line = ({ average10, average60, average300, totalUs }: PressureLine) => ({
    total: Number(totalUs) * 1000,
    avg10: average10,
    avg60: average60,
    avg300: average300,
  });
  return { psi: { full: line(pressure.full), some: line(pressure.some) } };
}
