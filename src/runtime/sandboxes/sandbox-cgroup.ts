import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import {
  type LinuxContainerResources,
  LinuxContainerResourcesSchema,
  type PodSandboxConfig,
} from '../../api/cri/index.ts';
import { cgroupLimits } from '../containers/spec/resources.ts';
import type { RuntimeContext } from '../context.ts';
import { invalid, stepFailed } from '../errors.ts';
import type { SandboxRecord } from '../store/sandbox-record.ts';

/** The cgroup of a sandbox: the given parent, or one of its own. @throws RuntimeError INVALID_ARGUMENT for a bad parent */
export function sandboxCgroup({ settings }: RuntimeContext, { linux }: PodSandboxConfig, id: string): string {
  return linux?.cgroupParent ? cgroupPathOf(linux.cgroupParent) : join(settings.cgroupParent, id);
}

/**
 * Makes the cgroup below which the sandbox's containers go. One of its own gets the limits of the whole pod; a given
 * parent has an owner (the kubelet) who has set them.
 */
export function makeSandboxCgroup(context: RuntimeContext, record: SandboxRecord): void {
  const { linux } = record.config;
  try {
    context.cgroups.create(record.cgroupParent);
    const limits = podResources(linux?.resources, linux?.overhead);
    if (!linux?.cgroupParent && limits) context.cgroups.apply(record.cgroupParent, cgroupLimits(limits));
  } catch (cause) {
    throw stepFailed(`cannot make cgroup ${record.cgroupParent}`, cause);
  }
}

/** What a pod may use: what its containers may, and what running it costs besides. */
export function podResources(
  resources: LinuxContainerResources | undefined,
  overhead: LinuxContainerResources | undefined,
): LinuxContainerResources | undefined {
  if (!resources || !overhead) return resources;
  // No limit with an overhead is no limit.
  const sum = (one: bigint, other: bigint): bigint => (one > 0n ? one + (other > 0n ? other : 0n) : one);
  const period = resources.cpuPeriod || 100_000n;
  const quota = (overhead.cpuQuota * period) / (overhead.cpuPeriod || 100_000n);
  return create(LinuxContainerResourcesSchema, {
    ...resources,
    cpuShares: sum(resources.cpuShares, overhead.cpuShares),
    cpuQuota: sum(resources.cpuQuota, quota),
    memoryLimitInBytes: sum(resources.memoryLimitInBytes, overhead.memoryLimitInBytes),
    memorySwapLimitInBytes: sum(resources.memorySwapLimitInBytes, overhead.memoryLimitInBytes),
  });
}

/**
 * The path of a cgroup parent. A slice of systemd, named as systemd does, is where systemd would have it:
 * `kubepods-burstable.slice` is `/kubepods.slice/kubepods-burstable.slice`.
 * @throws RuntimeError INVALID_ARGUMENT for one that leads elsewhere
 */
export function cgroupPathOf(parent: string): string {
  const steps = parent.split('/').filter((step) => step !== '' && step !== '.');
  if (steps.includes('..') || steps.length === 0) throw invalid(`cgroup parent "${parent}" is no path below the root`);
  const [slice, ...rest] = steps as [string, ...string[]];
  if (rest.length > 0 || !slice.endsWith('.slice')) return `/${steps.join('/')}`;
  const words = slice.slice(0, -'.slice'.length).split('-');
  if (words.includes('')) throw invalid(`cgroup parent "${parent}" is no name of a slice`);
  return `/${words.map((_, at) => `${words.slice(0, at + 1).join('-')}.slice`).join('/')}`;
}
