import type { PodSandboxStats } from '../../api/cri/index.ts';
import type { ContainerUsage, NodeUsage } from './statistics.ts';

const apiTime = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');

/** What a file system entry of the summary says; capacity is the node's. */
function fileSystem(node: NodeUsage, nowMs: number, usedBytes: number, inodesUsed?: number): object {
  const { availableBytes, capacityBytes, inodesFree, inodes } = node.fileSystem;
  return {
    time: apiTime(nowMs),
    availableBytes,
    capacityBytes,
    usedBytes,
    inodesFree,
    inodes,
    ...(inodesUsed === undefined ? {} : { inodesUsed }),
  };
}

/** The Summary API (`/stats/summary`), which `kubectl top`'s metrics server and autoscalers read. */
export function makeSummary(
  nodeName: string,
  node: NodeUsage,
  containers: ContainerUsage[],
  sandboxes: PodSandboxStats[],
  nowMs: number,
): object {
  const time = apiTime(nowMs);
  const pods = Map.groupBy(containers, ({ podUid }) => podUid);
  const {
    memoryAvailableBytes: availableBytes,
    memoryUsageBytes: usageBytes,
    memoryWorkingSetBytes: workingSetBytes,
  } = node;
  return {
    node: {
      nodeName,
      startTime: time,
      cpu: { time, usageCoreNanoSeconds: node.cpuNanoseconds },
      memory: { time, availableBytes, usageBytes, workingSetBytes },
      fs: fileSystem(node, nowMs, node.fileSystem.usedBytes, node.fileSystem.inodes - node.fileSystem.inodesFree),
    },
    pods: [...pods].map(([podUid, list]) => podSummary(podUid, list, sandboxes, node, nowMs)),
  };
}

function podSummary(
  podUid: string,
  list: ContainerUsage[],
  sandboxes: PodSandboxStats[],
  node: NodeUsage,
  nowMs: number,
): object {
  const time = apiTime(nowMs);
  const { pod: name, namespace } = list[0]!;
  const sum = (key: 'cpuNanoseconds' | 'workingSetBytes' | 'usageBytes' | 'rssBytes' | 'writableLayerBytes') =>
    list.reduce((total, one) => total + one[key], 0);
  const network = sandboxes.find(({ attributes }) => attributes?.metadata?.uid === podUid)?.linux?.network
    ?.defaultInterface;
  return {
    podRef: { name, namespace, uid: podUid },
    startTime: time,
    containers: list.map((one) => containerSummary(one, node, nowMs)),
    cpu: { time, usageCoreNanoSeconds: sum('cpuNanoseconds') },
    memory: { time, usageBytes: sum('usageBytes'), workingSetBytes: sum('workingSetBytes'), rssBytes: sum('rssBytes') },
    ...(network
      ? {
          network: {
            time,
            name: network.name,
            rxBytes: Number(network.rxBytes?.value ?? 0n),
            txBytes: Number(network.txBytes?.value ?? 0n),
          },
        }
      : {}),
    'ephemeral-storage': fileSystem(node, nowMs, sum('writableLayerBytes')),
  };
}

function containerSummary(one: ContainerUsage, node: NodeUsage, nowMs: number): object {
  const time = apiTime(one.atMs);
  return {
    name: one.container,
    startTime: apiTime(nowMs),
    cpu: {
      time,
      usageCoreNanoSeconds: one.cpuNanoseconds,
      ...(one.cpuNanoCores === undefined ? {} : { usageNanoCores: one.cpuNanoCores }),
    },
    memory: { time, usageBytes: one.usageBytes, workingSetBytes: one.workingSetBytes, rssBytes: one.rssBytes },
    rootfs: fileSystem(node, nowMs, one.writableLayerBytes, one.writableLayerInodes),
  };
}
