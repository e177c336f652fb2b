import { readFileSync, statfsSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';

/** What the machine has. */
export interface MachineCapacity {
  /** Thousandths of a processor. */
  cpuMilli: number;
  memoryBytes: number;
  /** Size of the file system of the kubelet's root directory. */
  diskBytes: number;
  /** Most processes that the kernel numbers. */
  maximumPids: number;
  /** By page size as in resource names (`2Mi`): bytes. */
  hugepages: Record<string, number>;
}

/** Reads the capacity of this machine. */
export function readMachineCapacity(rootDirectory: string): MachineCapacity {
  const disk = statfsSync(rootDirectory);
  return {
    cpuMilli: availableParallelism() * 1000,
    memoryBytes: totalmem(),
    diskBytes: disk.blocks * disk.bsize,
    maximumPids: Number(readText('/proc/sys/kernel/pid_max') || 32_768),
    hugepages: readHugepages(),
  };
}

/** The default size of huge pages and how many are set aside (/proc/meminfo). */
function readHugepages(): Record<string, number> {
  const text = readText('/proc/meminfo');
  const kilobytes = Number(/^Hugepagesize:\s+(\d+) kB/m.exec(text)?.[1] ?? 0);
  const count = Number(/^HugePages_Total:\s+(\d+)/m.exec(text)?.[1] ?? 0);
  if (kilobytes === 0) return {};
  const name = kilobytes >= 1_048_576 ? `${kilobytes / 1_048_576}Gi` : `${kilobytes / 1024}Mi`;
  return { [name]: count * kilobytes * 1024 };
}

/** The text of a file, trimmed; empty when it cannot be read. */
export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}
