import { existsSync, readdirSync, readFileSync, statfsSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { join } from 'node:path';
import { formatBytes } from '../../api/index.ts';
import { type CgroupTree, openCgroups } from '../../host/cgroups/index.ts';
import { ConfigurationError } from '../errors.ts';

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

/** Memory of the machine and what of it can be limited. */
export interface MemoryFacts {
  /** Bytes. */
  memoryCapacity: number;
  /** cgroup v2. */
  unified: boolean;
  /** Whether the kernel limits swap. */
  swapControl: boolean;
  /** Bytes of swap space. */
  swapCapacity: number;
  limitedSwap: boolean;
  killTogether: boolean;
}

/** Reads what there is of memory; `configuration` says what is wanted of swap and of kills. */
export function readMemoryFacts(configuration: {
  memorySwap: { swapBehavior: string };
  singleProcessOOMKill?: boolean;
}): MemoryFacts {
  const tree = openCgroups();
  const unified = tree.version === 'v2';
  const swapTotal = /^SwapTotal:\s+(\d+)/m.exec(readText('/proc/meminfo'))?.[1];
  return {
    memoryCapacity: totalmem(),
    unified,
    swapControl: hasSwapControl(tree),
    swapCapacity: Number(swapTotal ?? 0) * 1024,
    limitedSwap: configuration.memorySwap.swapBehavior === 'LimitedSwap',
    // v1 cannot kill a whole cgroup; v2 does unless it is told otherwise.
    killTogether: unified && configuration.singleProcessOOMKill !== true,
  };
}

/**
 * Refuses what this kernel cannot do of a configuration.
 * @throws ConfigurationError naming the field
 */
export function checkMemoryFacts(
  configuration: { singleProcessOOMKill?: boolean },
  { unified, swapControl, limitedSwap }: MemoryFacts,
): void {
  const field = 'memorySwap.swapBehavior';
  if (limitedSwap && !unified)
    throw new ConfigurationError(field, 'LimitedSwap needs cgroup v2, and this machine has v1');
  if (limitedSwap && !swapControl)
    throw new ConfigurationError(field, 'LimitedSwap needs a kernel that limits swap, which this one does not');
  if (configuration.singleProcessOOMKill === false && !unified)
    throw new ConfigurationError('singleProcessOOMKill', 'false needs cgroup v2, and this machine has v1');
}

/** The root has no such file: our own cgroup tells. */
function hasSwapControl(tree: CgroupTree): boolean {
  if (tree.version !== 'v2') {
    const memory = tree.directory('memory', '/');
    return memory !== undefined && existsSync(join(memory, 'memory.memsw.limit_in_bytes'));
  }
  const own = /^0::(.*)$/m.exec(readText('/proc/self/cgroup'))?.[1] ?? '/';
  if (own !== '/' && own !== '') return existsSync(join('/sys/fs/cgroup', own, 'memory.swap.max'));
  return readdirSync('/sys/fs/cgroup').some((name) => existsSync(join('/sys/fs/cgroup', name, 'memory.swap.max')));
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

/** What is set aside of each size of huge pages. */
function readHugepages(): Record<string, number> {
  const found: Record<string, number> = {};
  for (const { size, bytes } of hugepageSizes())
    found[size] = Number(readText(`${hugepagesDirectory}/hugepages-${bytes / 1024}kB/nr_hugepages`) || 0) * bytes;
  return found;
}

const hugepagesDirectory = '/sys/kernel/mm/hugepages';

/** The sizes of huge pages that the kernel has, as in resource names (`2Mi`). */
export function hugepageSizes(): { size: string; bytes: number }[] {
  if (!existsSync(hugepagesDirectory)) return [];
  return readdirSync(hugepagesDirectory).flatMap((name) => {
    const kilobytes = Number(/^hugepages-(\d+)kB$/.exec(name)?.[1] ?? 0);
    return kilobytes > 0 ? [{ size: formatBytes(kilobytes * 1024), bytes: kilobytes * 1024 }] : [];
  });
}

/** The text of a file, trimmed; empty when it cannot be read. */
export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}
