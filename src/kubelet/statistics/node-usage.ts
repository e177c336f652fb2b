import { readFileSync, statfsSync } from 'node:fs';
import { cpus } from 'node:os';
import { type CgroupTree, type Pressure, parsePressure } from '../../host/cgroups/index.ts';
import { readText } from '../resources/index.ts';

/** A file system as a whole. */
export interface FileSystemUsage {
  capacityBytes: number;
  availableBytes: number;
  usedBytes: number;
  inodes: number;
  inodesFree: number;
  inodesUsed: number;
}

/** What the machine uses. */
export interface NodeUsage {
  /** When it was read, milliseconds since 1970. */
  atMs: number;
  /** When the machine was started, milliseconds since 1970. */
  bootMs: number;
  cpuNanoseconds: number;
  memoryCapacityBytes: number;
  memoryAvailableBytes: number;
  memoryUsageBytes: number;
  memoryWorkingSetBytes: number;
  memoryRssBytes: number;
  pageFaults: number;
  majorPageFaults: number;
  swapCapacityBytes: number;
  swapUsedBytes: number;
  processes: number;
  maximumProcesses: number;
  pressure: { cpu?: Pressure; memory?: Pressure; io?: Pressure };
  fileSystem: FileSystemUsage;
}

/** Reads what the machine uses. */
export function readNodeUsage(rootDirectory: string, tree: CgroupTree | undefined, nowMs: number): NodeUsage {
  const memory = readTable('/proc/meminfo', /^(\w+):\s+(\d+)/gm);
  const kilobytes = (name: string) => (memory.get(name) ?? 0) * 1024;
  const statistics = readTable('/proc/vmstat', /^(\w+) (\d+)/gm);
  const root = tree?.version === 'v2' ? undefined : tree?.sample('/');
  const busyMs = cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0);
  const capacity = kilobytes('MemTotal');
  const available = kilobytes('MemAvailable');
  const usage = capacity - kilobytes('MemFree');
  return {
    atMs: nowMs,
    bootMs: nowMs - Number(readText('/proc/uptime').split(' ')[0] ?? 0) * 1000,
    cpuNanoseconds: busyMs * 1e6,
    memoryCapacityBytes: capacity,
    memoryAvailableBytes: available,
    memoryUsageBytes: usage,
    memoryWorkingSetBytes: capacity - available,
    memoryRssBytes: kilobytes('AnonPages') || Number(root?.rssBytes ?? 0n),
    pageFaults: statistics.get('pgfault') ?? 0,
    majorPageFaults: statistics.get('pgmajfault') ?? 0,
    swapCapacityBytes: kilobytes('SwapTotal'),
    swapUsedBytes: kilobytes('SwapTotal') - kilobytes('SwapFree'),
    processes: Number(/\d+\/(\d+)/.exec(readText('/proc/loadavg'))?.[1] ?? 0),
    maximumProcesses: Math.min(
      Number(readText('/proc/sys/kernel/pid_max') || Number.POSITIVE_INFINITY),
      Number(readText('/proc/sys/kernel/threads-max') || Number.POSITIVE_INFINITY),
    ),
    pressure: readPressure(),
    fileSystem: readFileSystem(rootDirectory),
  };
}

function readTable(path: string, pattern: RegExp): Map<string, number> {
  return new Map([...readText(path).matchAll(pattern)].map(([, name, value]) => [name!, Number(value)]));
}

/** What the kernel tells of waiting on the whole machine; nothing where it does not. */
function readPressure(): NodeUsage['pressure'] {
  const read = (name: string) => {
    try {
      return parsePressure(readFileSync(`/proc/pressure/${name}`, 'latin1'));
    } catch {
      return undefined;
    }
  };
  const [cpu, memory, io] = ['cpu', 'memory', 'io'].map(read);
  return { ...(cpu ? { cpu } : {}), ...(memory ? { memory } : {}), ...(io ? { io } : {}) };
}

/** The file system that a path is on. @throws Error when there is no such path */
export function readFileSystem(path: string): FileSystemUsage {
  const { blocks, bavail, bfree, bsize, files, ffree } = statfsSync(path);
  return {
    capacityBytes: blocks * bsize,
    availableBytes: bavail * bsize,
    usedBytes: (blocks - bfree) * bsize,
    inodes: files,
    inodesFree: ffree,
    inodesUsed: files - ffree,
  };
}
