import type { PodSandboxStats } from '../../api/cri/index.ts';
import type { ContainerUsage, NodeUsage } from './statistics.ts';

/** The Summary API (`/stats/summary`), which `kubectl top`'s metrics server and autoscalers read. */
export function makeSummary(
  nodeName: string,
  node: NodeUsage,
  containers: ContainerUsage[],
  sandboxes: PodSandboxStats[],
  nowMs: number,
): object {
  const time = (ms: number) => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
  const fs = (usedBytes: number, inodesUsed?: number) => ({
    time: time(nowMs),
    availableBytes: node.fileSystem.availableBytes,
    capacityBytes: node.fileSystem.capacityBytes,
    usedBytes,
    inodesFree: node.fileSystem.inodesFree,
    inodes: node.fileSystem.inodes,
    ...(inodesUsed === undefined ? {} : { inodesUsed }),
  });
  const pods = new Map<string, ContainerUsage[]>();
  for (const usage of containers) {
    const list = pods.get(usage.podUid);
    if (list) list.push(usage);
    else pods.set(usage.podUid, [usage]);
  }
  return {
    node: {
      nodeName,
      startTime: time(nowMs),
      cpu: { time: time(nowMs), usageCoreNanoSeconds: node.cpuNanoseconds },
      memory: {
        time: time(nowMs),
        availableBytes: node.memoryAvailableBytes,
        usageBytes: node.memoryUsageBytes,
        workingSetBytes: node.memoryWorkingSetBytes,
      },
      fs: fs(node.fileSystem.usedBytes, node.fileSystem.inodes - node.fileSystem.inodesFree),
    },
    pods: [...pods].map(([podUid, list]) => {
      const first = list[0]!;
      const sum = (key: 'cpuNanoseconds' | 'workingSetBytes' | 'usageBytes' | 'rssBytes' | 'writableLayerBytes') =>
        list.reduce((total, one) => total + one[key], 0);
      const network = sandboxes.find(({ attributes }) => attributes?.metadata?.uid === podUid)?.linux?.network
        ?.defaultInterface;
      return {
        podRef: { name: first.pod, namespace: first.namespace, uid: podUid },
        startTime: time(nowMs),
        containers: list.map((one) => ({
          name: one.container,
          startTime: time(nowMs),
          cpu: {
            time: time(one.atMs),
            usageCoreNanoSeconds: one.cpuNanoseconds,
            ...(one.cpuNanoCores === undefined ? {} : { usageNanoCores: one.cpuNanoCores }),
          },
          memory: {
            time: time(one.atMs),
            usageBytes: one.usageBytes,
            workingSetBytes: one.workingSetBytes,
            rssBytes: one.rssBytes,
          },
          rootfs: fs(one.writableLayerBytes, one.writableLayerInodes),
        })),
        cpu: { time: time(nowMs), usageCoreNanoSeconds: sum('cpuNanoseconds') },
        memory: {
          time: time(nowMs),
          usageBytes: sum('usageBytes'),
          workingSetBytes: sum('workingSetBytes'),
          rssBytes: sum('rssBytes'),
        },
        ...(network
          ? {
              network: {
                time: time(nowMs),
                name: network.name,
                rxBytes: Number(network.rxBytes?.value ?? 0n),
                txBytes: Number(network.txBytes?.value ?? 0n),
              },
            }
          : {}),
        'ephemeral-storage': fs(sum('writableLayerBytes')),
      };
    }),
  };
}
