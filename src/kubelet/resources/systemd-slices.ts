import { existsSync } from 'node:fs';
import type { Clock } from '../../async/index.ts';
import { type CgroupLimits, sharesToWeight } from '../../host/cgroups/index.ts';
import { runProgram } from '../../host/exec/index.ts';

/** Has systemd keep slices, so that it does not take back what is written to their cgroups. */
export interface Slices {
  /** Starts a slice (with those above it). May run already. */
  start(slice: string): Promise<void>;
  /** Stops a slice; one that is not there is no error. */
  stop(slice: string): Promise<void>;
  /** Sets limits; what is not given stays. */
  limit(slice: string, limits: CgroupLimits): Promise<void>;
}

/** Longest wait for systemd, milliseconds. */
const timeoutMs = 10_000;

/** The slices of the systemd that runs as process 1. @throws Error when none does */
export function openSlices(clock: Clock): Slices {
  if (!existsSync('/run/systemd/system'))
    throw new Error(
      'the systemd cgroup driver is asked for, and systemd is not process 1 here: set cgroupfs in the configuration of the runtime',
    );
  const systemctl = async (...argv: string[]): Promise<void> => {
    await runProgram(['systemctl', ...argv], { timeoutMs, clock });
  };
  return {
    start: (slice) => systemctl('start', slice),
    stop: (slice) => systemctl('stop', slice),
    limit: async (slice, limits) => {
      const properties = sliceProperties(limits, existsSync('/sys/fs/cgroup/cgroup.controllers'));
      if (properties.length > 0) await systemctl('set-property', '--runtime', slice, ...properties);
    },
  };
}

/** Limits as properties of a unit. */
export function sliceProperties(limits: CgroupLimits, v2: boolean): string[] {
  const { cpuShares, cpuQuotaUs, cpuPeriodUs = 100_000, memoryBytes, pids } = limits;
  const bytes = (value: number) => (value < 0 ? 'infinity' : String(value));
  const properties: string[] = [];
  if (cpuShares !== undefined)
    properties.push(v2 ? `CPUWeight=${sharesToWeight(cpuShares)}` : `CPUShares=${cpuShares}`);
  if (cpuQuotaUs !== undefined) {
    // In hundredths of a processor; systemd keeps whole ones.
    properties.push(cpuQuotaUs < 0 ? 'CPUQuota=' : `CPUQuota=${Math.ceil((cpuQuotaUs * 100) / cpuPeriodUs)}%`);
    properties.push(`CPUQuotaPeriodSec=${cpuPeriodUs}us`);
  }
  if (memoryBytes !== undefined) properties.push(`${v2 ? 'MemoryMax' : 'MemoryLimit'}=${bytes(memoryBytes)}`);
  if (pids !== undefined) properties.push(`TasksMax=${bytes(pids)}`);
  return properties;
}
