import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { readText } from '../resources/machine.ts';
import { parseCpuSet } from './cpu-set.ts';

/** Where a processor (a hardware thread) is. */
export interface CpuPlace {
  cpu: number;
  /** The lowest processor of its core: threads of one core have it in common. */
  core: number;
  socket: number;
  /** NUMA node. */
  node: number;
  /** The lowest processor that shares its last-level cache. */
  cache: number;
}

/** A NUMA node. */
export interface NumaNode {
  id: number;
  memoryBytes: number;
  /** Huge pages set aside, by the name of their resource (`hugepages-2Mi`), bytes. */
  hugepages: Record<string, number>;
  /** Distances to all nodes by id. */
  distances: Record<number, number>;
}

/** How the machine is built. */
export interface MachineTopology {
  cpus: CpuPlace[];
  nodes: NumaNode[];
}

/** Threads of a core, on the whole machine: processors by cores. */
export function threadsPerCore({ cpus }: MachineTopology): number {
  return Math.max(1, Math.floor(cpus.length / new Set(cpus.map(({ core }) => core)).size));
}

/** Reads how this machine is built. @param root another root of /sys, for tests */
export function readMachineTopology(root = '/sys/devices/system'): MachineTopology {
  const nodes = readNodes(root);
  const nodeOf = new Map<number, number>();
  for (const { id } of nodes)
    for (const cpu of parseCpuSet(readText(join(root, `node/node${id}/cpulist`)))) nodeOf.set(cpu, id);
  const cpus = [...parseCpuSet(readText(join(root, 'cpu/online')) || '0')].map((cpu) => {
    const at = join(root, `cpu/cpu${cpu}`);
    return {
      cpu,
      core: lowest(readText(join(at, 'topology/thread_siblings_list')), cpu),
      socket: Math.max(0, Number(readText(join(at, 'topology/physical_package_id')) || 0)),
      node: nodeOf.get(cpu) ?? 0,
      cache: lowest(readText(join(at, 'cache/index3/shared_cpu_list')), 0),
    };
  });
  return { cpus, nodes };
}

function lowest(list: string, otherwise: number): number {
  return list === '' ? otherwise : Math.min(...parseCpuSet(list));
}

function readNodes(root: string): NumaNode[] {
  const online = [...parseCpuSet(readText(join(root, 'node/online')))];
  // Kernels without NUMA have no such directory: all is one node.
  const ids = online.length > 0 ? online : [0];
  return ids.map((id) => {
    const at = join(root, `node/node${id}`);
    const text = readText(join(at, 'meminfo')) || readText('/proc/meminfo');
    const kilobytes = Number(/MemTotal:\s+(\d+) kB/.exec(text)?.[1] ?? 0);
    const distances = (readText(join(at, 'distance')) || '10').split(/\s+/).map(Number);
    return {
      id,
      memoryBytes: kilobytes * 1024,
      hugepages: readHugepages(join(at, 'hugepages')),
      distances: Object.fromEntries(ids.map((other, index) => [other, distances[index] ?? 10])),
    };
  });
}

function readHugepages(directory: string): Record<string, number> {
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch {
    return {};
  }
  const pages: Record<string, number> = {};
  for (const name of names) {
    const kilobytes = Number(/^hugepages-(\d+)kB$/.exec(name)?.[1] ?? 0);
    if (kilobytes === 0) continue;
    const size = kilobytes >= 1_048_576 ? `${kilobytes / 1_048_576}Gi` : `${kilobytes / 1024}Mi`;
    pages[`hugepages-${size}`] = Number(readText(join(directory, name, 'nr_hugepages')) || 0) * kilobytes * 1024;
  }
  return pages;
}
