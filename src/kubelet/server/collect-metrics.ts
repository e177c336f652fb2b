import { readdirSync } from 'node:fs';
import type { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import { readySandbox } from '../pods/runtime-state.ts';
import { readText } from '../resources/index.ts';
import { claimOf } from '../statistics/index.ts';
import type { KubeletServerOptions } from './server-options.ts';

/** Sets what is read when /metrics is asked for: the process, the node, volumes and logs. */
export function collectMetrics(options: KubeletServerOptions, version: string): void {
  const { metrics, settings, statistics, cache } = options;
  const { tree } = statistics;
  metrics.set('kubelet_node_name', 1, { node: settings.nodeName });
  if (tree) metrics.set('kubelet_cgroup_version', tree.version === 'v2' ? 2 : 1);
  metrics.set('kubernetes_build_info', 1, {
    git_version: version,
    deckhand: version,
    node: process.version,
    platform: `${process.platform}/${process.arch}`,
  });
  let utilization = performance.eventLoopUtilization();
  metrics.onCollect(() => {
    collectProcess(metrics);
    const now = performance.eventLoopUtilization();
    metrics.set('nodejs_eventloop_utilization', performance.eventLoopUtilization(now, utilization).utilization);
    utilization = now;
    metrics.set('kubelet_running_pods', cache.podUids().filter((uid) => readySandbox(cache.pod(uid))).length);
  });
  metrics.onCollect(() => collectDisks(options));
}

function collectProcess(metrics: KubeletMetrics): void {
  const { user, system } = process.cpuUsage();
  const status = readText('/proc/self/status');
  const kilobytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0) * 1024;
  metrics.set('process_cpu_seconds_total', (user + system) / 1e6);
  metrics.set('process_resident_memory_bytes', kilobytes('VmRSS'));
  metrics.set('process_virtual_memory_bytes', kilobytes('VmSize'));
  metrics.set('process_start_time_seconds', performance.timeOrigin / 1000);
  metrics.set('nodejs_heap_size_used_bytes', process.memoryUsage().heapUsed);
  try {
    metrics.set('process_open_fds', readdirSync('/proc/self/fd').length);
  } catch {
    // No /proc: nothing to tell.
  }
  const most = /^Max open files\s+(\d+)/m.exec(readText('/proc/self/limits'))?.[1];
  if (most) metrics.set('process_max_fds', Number(most));
}

/** Volumes of claims, and logs. */
async function collectDisks({ metrics, statistics, pods: directory }: KubeletServerOptions): Promise<void> {
  const pods = await statistics.pods();
  const { volumes, logs } = await statistics.disks(pods);
  const names = ['capacity_bytes', 'available_bytes', 'used_bytes', 'inodes', 'inodes_free', 'inodes_used'] as const;
  for (const name of names) metrics.clear(`kubelet_volume_stats_${name}`);
  metrics.clear('kubelet_container_log_filesystem_used_bytes');
  for (const { uid, name: pod, namespace, containers } of pods) {
    for (const { id, name: container } of containers) {
      const bytes = logs.get(id)?.bytes;
      if (bytes !== undefined)
        metrics.set('kubelet_container_log_filesystem_used_bytes', bytes, { uid, namespace, pod, container });
    }
    const spec = directory.podByUid(uid);
    for (const volume of volumes.get(uid) ?? []) {
      const claim = spec && claimOf(spec, volume.name);
      if (!claim) continue;
      const labels = { namespace, persistentvolumeclaim: claim };
      metrics.set('kubelet_volume_stats_capacity_bytes', volume.capacityBytes, labels);
      metrics.set('kubelet_volume_stats_available_bytes', volume.availableBytes, labels);
      metrics.set('kubelet_volume_stats_used_bytes', volume.usedBytes, labels);
      metrics.set('kubelet_volume_stats_inodes', volume.inodes, labels);
      metrics.set('kubelet_volume_stats_inodes_free', volume.inodesFree, labels);
      metrics.set('kubelet_volume_stats_inodes_used', volume.inodesUsed, labels);
    }
  }
}
