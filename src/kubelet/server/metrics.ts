import type { ProbeCount } from '../pods/ports.ts';
import type { ContainerUsage, NodeUsage } from './statistics.ts';

/** A metric with its samples, in the text format of Prometheus (version 0.0.4). */
interface Family {
  name: string;
  type: 'counter' | 'gauge';
  help: string;
  samples: { labels: Record<string, string>; value: number; atMs?: number }[];
}

/** Writes families as text. */
export function formatMetrics(families: Family[]): string {
  const escaped = (value: string) => value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
  const lines = families.flatMap(({ name, type, help, samples }) => [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${type}`,
    ...samples.map(({ labels, value, atMs }) => {
      const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escaped(text)}"`);
      return `${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${value}${atMs ? ` ${atMs}` : ''}`;
    }),
  ]);
  return `${lines.join('\n')}\n`;
}

const containerLabels = ({ container, namespace, pod }: ContainerUsage) => ({ container, namespace, pod });

function podTotals(
  usages: ContainerUsage[],
  key: 'cpuNanoseconds' | 'workingSetBytes',
): Map<string, { labels: Record<string, string>; value: number; atMs: number }> {
  const totals = new Map<string, { labels: Record<string, string>; value: number; atMs: number }>();
  for (const usage of usages) {
    const total = totals.get(usage.podUid) ?? {
      labels: { namespace: usage.namespace, pod: usage.pod },
      value: 0,
      atMs: usage.atMs,
    };
    total.value += usage[key];
    totals.set(usage.podUid, total);
  }
  return totals;
}

/** `/metrics/resource`: what the metrics server reads. */
export function resourceMetrics(node: NodeUsage, usages: ContainerUsage[], nowMs: number): string {
  const seconds = (nanoseconds: number) => nanoseconds / 1e9;
  return formatMetrics([
    {
      name: 'container_cpu_usage_seconds_total',
      type: 'counter',
      help: 'Cumulative cpu time consumed by the container in core-seconds',
      samples: usages.map((one) => ({
        labels: containerLabels(one),
        value: seconds(one.cpuNanoseconds),
        atMs: one.atMs,
      })),
    },
    {
      name: 'container_memory_working_set_bytes',
      type: 'gauge',
      help: 'Current working set of the container in bytes',
      samples: usages.map((one) => ({ labels: containerLabels(one), value: one.workingSetBytes, atMs: one.atMs })),
    },
    {
      name: 'node_cpu_usage_seconds_total',
      type: 'counter',
      help: 'Cumulative cpu time consumed by the node in core-seconds',
      samples: [{ labels: {}, value: seconds(node.cpuNanoseconds), atMs: nowMs }],
    },
    {
      name: 'node_memory_working_set_bytes',
      type: 'gauge',
      help: 'Current working set of the node in bytes',
      samples: [{ labels: {}, value: node.memoryWorkingSetBytes, atMs: nowMs }],
    },
    {
      name: 'pod_cpu_usage_seconds_total',
      type: 'counter',
      help: 'Cumulative cpu time consumed by the pod in core-seconds',
      samples: [...podTotals(usages, 'cpuNanoseconds').values()].map((one) => ({ ...one, value: seconds(one.value) })),
    },
    {
      name: 'pod_memory_working_set_bytes',
      type: 'gauge',
      help: 'Current working set of the pod in bytes',
      samples: [...podTotals(usages, 'workingSetBytes').values()],
    },
    {
      name: 'resource_scrape_error',
      type: 'gauge',
      help: '1 if there was an error while getting container metrics, 0 otherwise',
      samples: [{ labels: {}, value: 0 }],
    },
  ]);
}

/** `/metrics/cadvisor`: the container metrics that dashboards read. */
export function cadvisorMetrics(usages: ContainerUsage[]): string {
  const family = (
    name: string,
    type: Family['type'],
    help: string,
    value: (one: ContainerUsage) => number,
  ): Family => ({
    name,
    type,
    help,
    samples: usages.map((one) => ({ labels: containerLabels(one), value: value(one), atMs: one.atMs })),
  });
  return formatMetrics([
    family(
      'container_cpu_usage_seconds_total',
      'counter',
      'Cumulative cpu time consumed in seconds.',
      (one) => one.cpuNanoseconds / 1e9,
    ),
    family('container_memory_usage_bytes', 'gauge', 'Current memory usage in bytes.', (one) => one.usageBytes),
    family(
      'container_memory_working_set_bytes',
      'gauge',
      'Current working set in bytes.',
      (one) => one.workingSetBytes,
    ),
    family('container_memory_rss', 'gauge', 'Size of RSS in bytes.', (one) => one.rssBytes),
    family(
      'container_fs_usage_bytes',
      'gauge',
      'Number of bytes that are consumed by the container on this filesystem.',
      (one) => one.writableLayerBytes,
    ),
    family('container_fs_inodes_total', 'gauge', 'Number of Inodes', (one) => one.writableLayerInodes),
  ]);
}

/** `/metrics/probes` */
export function probeMetrics(counts: ProbeCount[]): string {
  const types = { startup: 'Startup', liveness: 'Liveness', readiness: 'Readiness' } as const;
  return formatMetrics([
    {
      name: 'prober_probe_total',
      type: 'counter',
      help: 'Cumulative number of a liveness, readiness or startup probe for a container by result.',
      samples: counts.map(({ namespace, pod, podUid, container, probe, result, count }) => ({
        labels: { container, namespace, pod, pod_uid: podUid, probe_type: types[probe], result },
        value: count,
      })),
    },
  ]);
}

/** `/metrics`: the kubelet itself. */
export function kubeletMetrics(facts: {
  nodeName: string;
  runningPods: number;
  runningContainers: number;
  residentBytes: number;
  cpuSeconds: number;
  startSeconds: number;
}): string {
  const gauge = (name: string, help: string, value: number, labels: Record<string, string> = {}): Family => ({
    name,
    type: 'gauge',
    help,
    samples: [{ labels, value }],
  });
  return formatMetrics([
    gauge('kubelet_node_name', "The node's name. The count is always 1.", 1, { node: facts.nodeName }),
    gauge('kubelet_running_pods', 'Number of pods that have a running pod sandbox', facts.runningPods),
    gauge('kubelet_running_containers', 'Number of containers currently running', facts.runningContainers, {
      container_state: 'running',
    }),
    gauge('process_resident_memory_bytes', 'Resident memory size in bytes.', facts.residentBytes),
    {
      name: 'process_cpu_seconds_total',
      type: 'counter',
      help: 'Total user and system CPU time spent in seconds.',
      samples: [{ labels: {}, value: facts.cpuSeconds }],
    },
    gauge('process_start_time_seconds', 'Start time of the process since unix epoch in seconds.', facts.startSeconds),
  ]);
}
