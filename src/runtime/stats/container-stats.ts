import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type ContainerStats,
  ContainerStatsSchema,
  type CpuUsageSchema,
  type LinuxPodSandboxStats,
  LinuxPodSandboxStatsSchema,
  type MemoryUsageSchema,
  type NetworkInterfaceUsageSchema,
  type PsiDataSchema,
  type PsiStatsSchema,
} from '../../api/cri/index.ts';
import type { CgroupSample, Pressure } from '../../host/cgroups/index.ts';
import { type Link, listLinks, NetlinkSocket } from '../../host/netlink/index.ts';
import type { RecordContext } from '../context.ts';
import { toNanoseconds } from '../identifiers.ts';
import type { ContainerRecord } from '../store/container-record.ts';
import type { SandboxRecord } from '../store/sandbox-record.ts';

const value = (number: bigint | undefined): { value: bigint } | undefined =>
  number === undefined ? undefined : { value: number };

const pressure = (one: Pressure | undefined): MessageInitShape<typeof PsiStatsSchema> | undefined => {
  if (!one) return undefined;
  const line = ({
    average10,
    average60,
    average300,
    totalUs,
  }: Pressure['some']): MessageInitShape<typeof PsiDataSchema> => ({
    Avg10: average10,
    Avg60: average60,
    Avg300: average300,
    Total: totalUs * 1000n,
  });
  return { Full: line(one.full), Some: line(one.some) };
};

/** Processor use between two looks at a cgroup, so that a rate can be told. */
export class CpuRates {
  readonly #last = new Map<string, { atNs: bigint; usageNs: bigint; rate: bigint }>();

  /** Nanoseconds of processor time per second since the last look that was at least a tenth of a second ago. */
  rate(key: string, atNs: bigint, usageNs: bigint): bigint {
    const last = this.#last.get(key);
    const elapsed = last ? atNs - last.atNs : 0n;
    if (last && elapsed < 100_000_000n) return last.rate;
    const used = last && usageNs > last.usageNs ? usageNs - last.usageNs : 0n;
    const rate = elapsed > 0n ? (used * 1_000_000_000n) / elapsed : 0n;
    this.#last.set(key, { atNs, usageNs, rate });
    return rate;
  }

  /** Forgets all but these. */
  keep(keys: ReadonlySet<string>): void {
    for (const key of this.#last.keys()) if (!keys.has(key)) this.#last.delete(key);
  }
}

const cpuRates = new WeakMap<RecordContext, CpuRates>();

function ratesOf(context: RecordContext): CpuRates {
  const rates = cpuRates.get(context) ?? new CpuRates();
  cpuRates.set(context, rates);
  return rates;
}

function toCpu(
  context: RecordContext,
  key: string,
  usage: CgroupSample,
  timestamp: bigint,
): MessageInitShape<typeof CpuUsageSchema> {
  return {
    timestamp,
    usageCoreNanoSeconds: value(usage.cpuNs),
    usageNanoCores: value(ratesOf(context).rate(key, timestamp, usage.cpuNs)),
    psi: pressure(usage.cpuPressure),
  };
}

function toMemory(usage: CgroupSample, timestamp: bigint): MessageInitShape<typeof MemoryUsageSchema> {
  const { memoryLimitBytes: limit, workingSetBytes } = usage;
  return {
    timestamp,
    workingSetBytes: value(workingSetBytes),
    availableBytes: value(limit === undefined ? undefined : limit > workingSetBytes ? limit - workingSetBytes : 0n),
    usageBytes: value(usage.memoryBytes),
    rssBytes: value(usage.rssBytes),
    pageFaults: value(usage.pageFaults),
    majorPageFaults: value(usage.majorPageFaults),
    psi: pressure(usage.memoryPressure),
  };
}

/** What a container uses; one that does not run has only its disk usage. */
export async function containerStatsOf(context: RecordContext, record: ContainerRecord): Promise<ContainerStats> {
  const { bytes, inodes } = await context.rootfs.usage(record.id).catch(() => ({ bytes: 0n, inodes: 0n }));
  const timestamp = toNanoseconds(context.clock.now());
  const usage = record.phase.name === 'running' ? context.cgroups.sample(record.cgroupPath) : undefined;
  return create(ContainerStatsSchema, {
    attributes: {
      id: record.id,
      metadata: record.config.metadata,
      labels: record.config.labels,
      annotations: record.config.annotations,
    },
    ...(usage
      ? {
          cpu: toCpu(context, record.id, usage, timestamp),
          memory: toMemory(usage, timestamp),
          swap: {
            timestamp,
            swapUsageBytes: value(usage.swapBytes ?? 0n),
            swapAvailableBytes: value(
              usage.swapLimitBytes === undefined ? 0n : usage.swapLimitBytes - (usage.swapBytes ?? 0n),
            ),
          },
          io: { timestamp, psi: pressure(usage.ioPressure) },
        }
      : {}),
    writableLayer: {
      timestamp,
      fsId: { mountpoint: context.settings.root },
      usedBytes: value(bytes),
      inodesUsed: value(inodes),
    },
  });
}

/** What a sandbox uses: its cgroup, its links, and its containers one by one. */
export async function sandboxStatsOf(
  context: RecordContext,
  record: SandboxRecord,
): Promise<LinuxPodSandboxStats | undefined> {
  const running = context.store.containers
    .list()
    .filter(({ sandboxId, phase }) => sandboxId === record.id && phase.name === 'running');
  const containers = await Promise.all(running.map((container) => containerStatsOf(context, container)));
  const timestamp = toNanoseconds(context.clock.now());
  const usage = context.cgroups.sample(record.cgroupParent);
  const links = record.phase === 'ready' ? sandboxLinks(record) : [];
  const usages = links.map(
    ({ name, statistics }): MessageInitShape<typeof NetworkInterfaceUsageSchema> => ({
      name,
      rxBytes: value(statistics.rxBytes),
      rxErrors: value(statistics.rxErrors),
      txBytes: value(statistics.txBytes),
      txErrors: value(statistics.txErrors),
    }),
  );
  return create(LinuxPodSandboxStatsSchema, {
    ...(usage
      ? {
          cpu: toCpu(context, record.id, usage, timestamp),
          memory: toMemory(usage, timestamp),
          process: { timestamp, processCount: value(usage.processes) },
          io: { timestamp, psi: pressure(usage.ioPressure) },
        }
      : {}),
    network: {
      timestamp,
      ...(usages[0] ? { defaultInterface: usages[0] } : {}),
      interfaces: usages.slice(1),
    },
    containers,
  });
}

/** A sandbox's own links but its loopback, the pod's first. */
export function sandboxLinks(record: SandboxRecord): Link[] {
  if (!record.namespaces.network) return [];
  try {
    using socket = new NetlinkSocket({ protocol: 'route', namespace: record.namespaces.network });
    return listLinks(socket).filter(({ loopback }) => !loopback);
  } catch {
    return [];
  }
}
