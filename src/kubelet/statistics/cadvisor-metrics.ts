import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { CgroupTree } from '../../host/cgroups/index.ts';
import { type Family, formatMetrics, type Sample } from '../metrics/text-format.ts';
import { readText } from '../resources/index.ts';
import { makeBreather } from './breather.ts';
import {
  type ContainerValue,
  containerValues,
  type ProcessCounts,
  pressureValues,
  type Subject,
} from './cadvisor-values.ts';
import type { NodeUsage } from './node-usage.ts';
import type { Statistics } from './statistics.ts';

/** Labels of every series, in the order of cAdvisor. */
const label = (id: string, more: Record<string, string> = {}): Record<string, string> => ({
  container: '',
  id,
  image: '',
  name: '',
  namespace: '',
  pod: '',
  ...more,
});

/** `/metrics/cadvisor`: containers, pods, the cgroups above them, and the machine, with the names that cAdvisor gave. */
export async function cadvisorMetrics(
  statistics: Statistics,
  now: () => number,
  monotonic: () => number,
): Promise<string> {
  const breathe = makeBreather(monotonic);
  const collected = new Map<string, Family>();
  const add = (subject: Subject | undefined) => {
    if (!subject) return;
    for (const value of containerValues) addValue(collected, subject, value);
    for (const value of pressureValues) addValue(collected, subject, value);
  };
  let failed = 0;
  const node = statistics.node();
  try {
    for (const cgroup of statistics.tree?.version === 'v2' ? statistics.parents() : ['/', ...statistics.parents()]) {
      add(readSubject(statistics.tree!, cgroup, label(cgroup), { atMs: now(), startedAt: node.bootMs }));
      await breathe();
    }
    const pods = await statistics.pods();
    const { layers } = await statistics.disks(pods);
    const device = deviceOf(readText('/proc/self/mounts'), '/');
    for (const { name: pod, namespace, cgroup, sandboxId, startedAt, containers, network } of pods) {
      if (!cgroup) continue;
      const labels = label(cgroup, { name: sandboxId, namespace, pod });
      add(readSubject(statistics.tree!, cgroup, labels, { atMs: now(), startedAt, network }));
      for (const one of containers) {
        if (!one.cgroup) continue;
        const own = label(one.cgroup, { container: one.name, image: one.image, name: one.id, namespace, pod });
        const layer = layers.get(one.id);
        add(
          readSubject(statistics.tree!, one.cgroup, own, {
            atMs: now(),
            startedAt: one.startedAt,
            processes: true,
            ...(layer ? { layer: { ...layer, of: node.fileSystem, device } } : {}),
          }),
        );
        await breathe();
      }
    }
  } catch {
    failed = 1;
  }
  return formatMetrics([...collected.values(), ...machineMetrics(node, failed)]);
}

function addValue(collected: Map<string, Family>, subject: Subject, value: ContainerValue): void {
  const found = value.read(subject);
  if (found === undefined) return;
  let family = collected.get(value.name);
  if (!family) {
    family = { name: value.name, type: value.type, help: value.help, samples: [] };
    collected.set(value.name, family);
  }
  const { atMs, labels } = subject;
  const samples: Sample[] =
    typeof found === 'number'
      ? [{ labels: value.labels ? { ...labels, ...value.labels } : labels, value: found, atMs }]
      : found.map((one) => ({ labels: { ...labels, ...one.labels }, value: one.value, atMs }));
  family.samples.push(...samples);
}

function readSubject(
  tree: CgroupTree,
  cgroup: string,
  labels: Record<string, string>,
  more: {
    atMs: number;
    startedAt: number;
    processes?: boolean;
    network?: Subject['network'];
    layer?: Subject['layer'];
  },
): Subject | undefined {
  const usage = tree.usage(cgroup);
  if (!usage) return undefined;
  return {
    ...{ labels, usage, atMs: more.atMs, startedAt: more.startedAt },
    details: tree.details(cgroup),
    outOfMemoryKills: tree.outOfMemoryKills(cgroup),
    processes: more.processes ? countProcesses(tree.processes(cgroup)) : undefined,
    network: more.network,
    layer: more.layer,
  };
}

/** Processes with their open files; of a container with very many only the first are looked into. */
function countProcesses(pids: readonly number[]): ProcessCounts {
  const counts = { processes: pids.length, descriptors: 0, sockets: 0 };
  for (const pid of pids.slice(0, mostProcesses)) {
    try {
      for (const descriptor of readdirSync(`/proc/${pid}/fd`)) {
        counts.descriptors++;
        if (readlinkSync(`/proc/${pid}/fd/${descriptor}`).startsWith('socket:')) counts.sockets++;
      }
    } catch {
      // It has ended.
    }
  }
  return counts;
}

const mostProcesses = 50;

/** The device that is mounted at a path, or at the nearest above. */
function deviceOf(mounts: string, path: string): string {
  return (
    mounts
      .split('\n')
      .find((line) => line.split(' ')[1] === path)
      ?.split(' ')[0] ?? ''
  );
}

function machineMetrics(node: NodeUsage, failed: number): Family[] {
  const gauge = (name: string, help: string, value: number, labels: Record<string, string> = {}): Family => ({
    name,
    type: 'gauge',
    help,
    samples: [{ labels, value }],
  });
  const text = (() => {
    try {
      return readFileSync('/proc/cpuinfo', 'latin1');
    } catch {
      return '';
    }
  })();
  const distinct = (pattern: RegExp) => new Set([...text.matchAll(pattern)].map(([line]) => line)).size || 1;
  const id = {
    boot_id: readText('/proc/sys/kernel/random/boot_id'),
    machine_id: readText('/etc/machine-id'),
    system_uuid: readText('/sys/class/dmi/id/product_uuid'),
  };
  return [
    gauge('machine_cpu_cores', 'Processors of the machine', availableParallelism(), id),
    gauge('machine_cpu_physical_cores', 'Cores', distinct(/^core id\s*:.*$/gm) * distinct(/^physical id\s*:.*$/gm), id),
    gauge('machine_cpu_sockets', 'Sockets', distinct(/^physical id\s*:.*$/gm), id),
    gauge('machine_memory_bytes', 'Memory of the machine', node.memoryCapacityBytes, id),
    gauge('machine_swap_bytes', 'Swap of the machine', node.swapCapacityBytes, id),
    gauge('machine_scrape_error', '1 when the machine could not be read', 0),
    gauge('container_scrape_error', '1 when containers could not be read', failed),
    gauge('cadvisor_version_info', 'Always 1; the labels tell the versions', 1, {
      cadvisorRevision: '',
      cadvisorVersion: '',
      dockerVersion: '',
      kernelVersion: readText('/proc/sys/kernel/osrelease'),
      osVersion: /^PRETTY_NAME="?([^"\n]*)/m.exec(readText('/etc/os-release'))?.[1] ?? '',
    }),
  ];
}
