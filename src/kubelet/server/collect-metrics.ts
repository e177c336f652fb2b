import { readdirSync } from 'node:fs';
import { readCertificate } from '../../wire/certificates/index.ts';
import type { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import { readySandbox } from '../pods/runtime-state.ts';
import { readText } from '../resources/index.ts';
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
  metrics.onCollect(() => collectCertificates(options));
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

/** What is told of a claim's volume: the metric's last part, and where it is found. */
const volumeAmounts = [
  ['capacity_bytes', 'capacityBytes'],
  ['available_bytes', 'availableBytes'],
  ['used_bytes', 'usedBytes'],
  ['inodes', 'inodes'],
  ['inodes_free', 'inodesFree'],
  ['inodes_used', 'inodesUsed'],
] as const;

/** How long certificates are still good for. */
function collectCertificates({ metrics, certificate, client, clock }: KubeletServerOptions): void {
  const tell = (name: 'server' | 'client', pem: string | Buffer | undefined): void => {
    if (!pem) return;
    const leftMs = Number(readCertificate(String(pem)).notAfter) - clock.now();
    metrics.set(`kubelet_certificate_manager_${name}_ttl_seconds`, Math.round(leftMs / 1000));
  };
  tell('server', certificate?.());
  tell('client', client?.config.cert);
}

/** Volumes of claims, and logs. */
async function collectDisks({ metrics, statistics }: KubeletServerOptions): Promise<void> {
  const pods = await statistics.pods();
  const { volumes, logs } = await statistics.disks(pods);
  for (const [name] of volumeAmounts) metrics.clear(`kubelet_volume_stats_${name}`);
  metrics.clear('kubelet_volume_stats_health_status_abnormal');
  metrics.clear('kubelet_container_log_filesystem_used_bytes');
  for (const { uid, name: pod, namespace, containers } of pods) {
    for (const { id, name: container } of containers) {
      const bytes = logs.get(id)?.bytes;
      if (bytes !== undefined)
        metrics.set('kubelet_container_log_filesystem_used_bytes', bytes, { uid, namespace, pod, container });
    }
    for (const { claim, usage } of volumes.get(uid) ?? []) {
      if (!claim) continue;
      const labels = { namespace, persistentvolumeclaim: claim };
      for (const [name, key] of volumeAmounts) {
        const amount = usage[key];
        if (amount !== undefined) metrics.set(`kubelet_volume_stats_${name}`, amount, labels);
      }
      if (usage.abnormal !== undefined)
        metrics.set('kubelet_volume_stats_health_status_abnormal', Number(usage.abnormal), labels);
    }
  }
}
