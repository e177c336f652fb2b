import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What went to and from one block device since the cgroup was made. */
export interface DeviceUsage {
  /** `8:0` */
  device: string;
  readBytes: bigint;
  writeBytes: bigint;
  reads: bigint;
  writes: bigint;
}

/** Huge pages of one size. */
export interface HugepageUsage {
  /** `2MB`, `1GB` */
  pageSize: string;
  bytes: bigint;
  /** undefined where the kernel does not keep it (v2). */
  maximumBytes?: bigint;
}

/** What statistics that are looked at all the time do not need. */
export interface CgroupDetails {
  devices: DeviceUsage[];
  /** Empty where the hugetlb controller is not in use. */
  hugepages: HugepageUsage[];
  cpuShares: bigint;
  cpuPeriodUs: bigint;
  /** undefined: no limit. */
  cpuQuotaUs?: bigint;
  /** Memory that is taken back last; undefined: none. */
  memoryReservationBytes?: bigint;
}

type DirectoryOf = (controller: string) => string | undefined;

/** A v1 limit from here on means none. */
const noLimit = 1n << 60n;

/** Reads the details of a cgroup from its files. */
export function readDetails(directoryOf: DirectoryOf, v2: boolean): CgroupDetails {
  return v2 ? readV2(directoryOf('unified') ?? '') : readV1(directoryOf);
}

function text(directory: string | undefined, file: string): string {
  try {
    return directory ? readFileSync(join(directory, file), 'utf8') : '';
  } catch {
    return '';
  }
}

function number(directory: string | undefined, file: string): bigint | undefined {
  const value = text(directory, file).trim();
  return /^-?\d+$/.test(value) ? BigInt(value) : undefined;
}

const emptyDevice = (device: string): DeviceUsage => ({ device, readBytes: 0n, writeBytes: 0n, reads: 0n, writes: 0n });

function readV1(directoryOf: DirectoryOf): CgroupDetails {
  const [cpu, blocks, memory] = [directoryOf('cpu'), directoryOf('blkio'), directoryOf('memory')];
  const quota = number(cpu, 'cpu.cfs_quota_us') ?? -1n;
  const reservation = number(memory, 'memory.soft_limit_in_bytes') ?? noLimit;
  return {
    devices: v1Devices(blocks),
    hugepages:
      hugepages(directoryOf('hugetlb'), 'usage_in_bytes') ?? hugepages(directoryOf('unified'), 'current') ?? [],
    cpuShares: number(cpu, 'cpu.shares') ?? 0n,
    cpuPeriodUs: number(cpu, 'cpu.cfs_period_us') ?? 0n,
    ...(quota > 0n ? { cpuQuotaUs: quota } : {}),
    ...(reservation < noLimit ? { memoryReservationBytes: reservation } : {}),
  };
}

/** Lines `8:0 Read 4096` in one file for bytes and one for operations. */
function v1Devices(directory: string | undefined): DeviceUsage[] {
  const devices = new Map<string, DeviceUsage>();
  const fields = [
    ['blkio.throttle.io_service_bytes_recursive', 'readBytes', 'writeBytes'],
    ['blkio.throttle.io_serviced_recursive', 'reads', 'writes'],
  ] as const;
  for (const [file, read, write] of fields) {
    for (const [, device = '', operation, value = '0'] of text(directory, file).matchAll(
      /^(\d+:\d+) (Read|Write) (\d+)$/gm,
    )) {
      const usage = devices.get(device) ?? emptyDevice(device);
      usage[operation === 'Read' ? read : write] = BigInt(value);
      devices.set(device, usage);
    }
  }
  return [...devices.values()];
}

function readV2(directory: string): CgroupDetails {
  const [, quota = 'max', period = '100000'] = /^(\S+) (\d+)/.exec(text(directory, 'cpu.max')) ?? [];
  const weight = number(directory, 'cpu.weight') ?? 100n;
  const reservation = number(directory, 'memory.low') ?? 0n;
  const devices = text(directory, 'io.stat').matchAll(/^(\d+:\d+) (.*)$/gm);
  return {
    devices: [...devices].map(([, device = '', line = '']) => v2Device(device, line)),
    hugepages: hugepages(directory, 'current') ?? [],
    // The inverse of what runtimes make of shares (KEP-2254).
    cpuShares: 2n + ((weight - 1n) * 262_142n) / 9_999n,
    cpuPeriodUs: BigInt(period),
    ...(quota === 'max' ? {} : { cpuQuotaUs: BigInt(quota) }),
    ...(reservation > 0n ? { memoryReservationBytes: reservation } : {}),
  };
}

function v2Device(device: string, line: string): DeviceUsage {
  const field = (name: string): bigint => BigInt(new RegExp(`\\b${name}=(\\d+)`).exec(line)?.[1] ?? 0);
  return {
    device,
    readBytes: field('rbytes'),
    writeBytes: field('wbytes'),
    reads: field('rios'),
    writes: field('wios'),
  };
}

/** Files `hugetlb.2MB.current`; undefined when there are none. */
function hugepages(directory: string | undefined, file: string): HugepageUsage[] | undefined {
  if (!directory) return undefined;
  const pattern = new RegExp(`^hugetlb\\.(\\d+[KMG]B)\\.${file}$`);
  const sizes = list(directory).flatMap((name) => pattern.exec(name)?.[1] ?? []);
  if (sizes.length === 0) return undefined;
  return sizes.map((pageSize) => {
    const maximumBytes = number(directory, `hugetlb.${pageSize}.max_usage_in_bytes`);
    return {
      pageSize,
      bytes: number(directory, `hugetlb.${pageSize}.${file}`) ?? 0n,
      ...(maximumBytes === undefined ? {} : { maximumBytes }),
    };
  });
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
}
