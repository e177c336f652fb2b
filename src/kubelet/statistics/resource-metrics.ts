import { type Family, formatMetrics, type Sample } from '../metrics/text-format.ts';
import type { Statistics } from './statistics.ts';
import type { ContainerUsage, PodUsage, Usage } from './usage.ts';

type Measured = { labels: Record<string, string>; usage: Usage };

/** `/metrics/resource`: what the metrics server and autoscalers read. */
export async function resourceMetrics(statistics: Statistics): Promise<string> {
  const started: { labels: Record<string, string>; at: number }[] = [];
  let pods: PodUsage[] = [];
  let failed = 0;
  try {
    pods = await statistics.pods();
  } catch {
    failed = 1;
  }
  const node = statistics.node();
  const containers: Measured[] = [];
  const sandboxes: Measured[] = [];
  for (const { name: pod, namespace, usage, containers: all } of pods) {
    for (const one of all) {
      const labels = { container: one.name, namespace, pod };
      containers.push({ labels, usage: one.usage });
      started.push({ labels, at: one.startedAt });
    }
    const total = usage ?? sumOf(all);
    if (total) sandboxes.push({ labels: { namespace, pod }, usage: total });
  }
  const at = { atMs: node.atMs };
  return formatMetrics([
    ...families('container', containers),
    {
      name: 'container_swap_limit_bytes',
      type: 'gauge',
      help: 'Swap that a container may use',
      samples: samples(containers, ({ swapLimitBytes }) => swapLimitBytes),
    },
    {
      name: 'container_start_time_seconds',
      type: 'gauge',
      help: 'When a container started, seconds since 1970',
      samples: started.map(({ labels, at: ms }) => ({ labels, value: ms / 1000 })),
    },
    single('node_cpu_usage_seconds_total', 'counter', 'Processor time of the node', node.cpuNanoseconds / 1e9, at),
    single('node_memory_working_set_bytes', 'gauge', 'Working set of the node', node.memoryWorkingSetBytes, at),
    single('node_swap_usage_bytes', 'gauge', 'Swap in use on the node', node.swapUsedBytes, at),
    ...families('pod', sandboxes),
    single('resource_scrape_error', 'gauge', '1 when something could not be read', failed, {}),
    single('scrape_error', 'gauge', '1 when something could not be read (the old name)', failed, {}),
  ]);
}

function families(of: 'container' | 'pod', all: Measured[]): Family[] {
  return [
    {
      name: `${of}_cpu_usage_seconds_total`,
      type: 'counter',
      help: `Processor time of a ${of}`,
      samples: samples(all, ({ cpuNs }) => cpuNs, 1e9),
    },
    {
      name: `${of}_memory_working_set_bytes`,
      type: 'gauge',
      help: `Working set of a ${of}`,
      samples: samples(all, ({ workingSetBytes }) => workingSetBytes),
    },
    {
      name: `${of}_swap_usage_bytes`,
      type: 'gauge',
      help: `Swap in use by a ${of}`,
      samples: samples(all, ({ swapBytes }) => swapBytes),
    },
  ];
}

function samples(all: Measured[], value: (usage: Usage) => bigint | undefined, divisor = 1): Sample[] {
  return all.flatMap(({ labels, usage }) => {
    const found = value(usage);
    return found === undefined ? [] : [{ labels, value: Number(found) / divisor, atMs: usage.atMs }];
  });
}

const single = (
  name: string,
  type: 'counter' | 'gauge',
  help: string,
  value: number,
  more: { atMs?: number },
): Family => ({ name, type, help, samples: [{ labels: {}, value, ...more }] });

/** A pod without a cgroup of its own here: its containers together. */
function sumOf(containers: ContainerUsage[]): Usage | undefined {
  const [first, ...rest] = containers;
  if (!first) return undefined;
  const total = { ...first.usage };
  for (const { usage } of rest) {
    total.cpuNs += usage.cpuNs;
    total.workingSetBytes += usage.workingSetBytes;
    if (usage.swapBytes !== undefined) total.swapBytes = (total.swapBytes ?? 0n) + usage.swapBytes;
  }
  return total;
}
