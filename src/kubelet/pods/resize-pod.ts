import { type Container, type Pod, quantityMilli, quantityValue, type ResourceRequirements } from '../../api/index.ts';
import { describeError } from '../errors.ts';
import { effectiveLimits, type Resizable, resizable, resizableContainers } from '../resources/pod-resources.ts';
import { containerResources, sandboxResources } from './container-resources.ts';
import { noteFailure, noteSuccess, type PodKit } from './kit.ts';
import type { PodRecord } from './pod-record.ts';
import type { PodCgroupState } from './ports.ts';
import { isNotFound, isUnimplemented } from './runtime-client.ts';
import { newestContainer, type RuntimeContainer } from './runtime-state.ts';
import { resourceDefaults } from './sandbox-config.ts';
import type { Step } from './steps.ts';

/** A running container that is to get other resources. */
interface Update {
  container: Container;
  running: RuntimeContainer;
  /** What it has now. */
  inForce: ResourceRequirements;
}

/**
 * Puts the granted resources of a pod into force: its cgroup and its running containers, memory before processors. What
 * grows grows from the pod down, what shrinks shrinks from the containers up: requests never exceed limits on the way.
 * A failure is told by the pod's condition and tried again later.
 */
export async function resizePod(
  kit: PodKit,
  record: PodRecord,
  { sandboxId }: Extract<Step, { kind: 'resize-pod' }>,
): Promise<void> {
  const { pod } = record;
  const startedAt = kit.clock.monotonic();
  let success = false;
  const updates = findUpdates(kit, pod);
  try {
    await kit.resizes.saved();
    await actuate(kit, pod, sandboxId, updates);
    kit.resizes.actuatedPod(pod.metadata.uid, pod.spec.resources);
    noteSuccess(kit, record, 'resize');
    success = true;
  } catch (error) {
    record.abort.signal.throwIfAborted();
    kit.log.info('a resize is not in force', { pod: `${pod.metadata.namespace}/${pod.metadata.name}`, error });
    kit.resizes.failed(pod, describeError(error));
    noteFailure(kit, record, 'resize');
  }
  const ms = kit.clock.monotonic() - startedAt;
  kit.metrics.observe('kubelet_pod_resize_duration_milliseconds', ms, { success: String(success) });
  await Promise.all(
    updates.map(({ running }) => kit.cache.refreshContainer(running.id, running.sandboxId).catch(() => {})),
  );
  kit.publish(record);
}

function findUpdates(kit: PodKit, pod: Pod): Update[] {
  const runtime = kit.cache.pod(pod.metadata.uid);
  const known = kit.resizes.actuated(pod.metadata.uid);
  return resizableContainers(pod).flatMap((container) => {
    const running = newestContainer(runtime, container.name);
    if (running?.state !== 'running' || kit.resizes.open(pod, container.name).length === 0) return [];
    return [{ container, running, inForce: effectiveLimits(known?.pod, known?.containers[container.name]) }];
  });
}

async function actuate(kit: PodKit, pod: Pod, sandboxId: string, updates: readonly Update[]): Promise<void> {
  const current = kit.cgroups.current(pod);
  const wanted = kit.cgroups.limits(pod);
  if (current) await checkMemory(kit, pod, current, wanted, updates);
  // What the runtime was told of the pod last; changed step by step.
  const told = { ...(current ?? wanted) };
  const setPod = async (part: Partial<PodCgroupState>): Promise<void> => {
    if (!current) return;
    Object.assign(told, part);
    await tellSandbox(kit, pod, sandboxId, told);
    await kit.cgroups.change(pod, part);
  };
  const steps: Record<Resizable, (keyof PodCgroupState)[][]> = {
    memory: [['memoryBytes']],
    // Limits grow before requests, and shrink after them.
    cpu: [['cpuQuotaUs', 'cpuPeriodUs'], ['cpuShares']],
  };
  for (const name of ['memory', 'cpu'] as const) {
    const parts = steps[name].map((fields) => ({
      change: Object.fromEntries(fields.map((field) => [field, wanted[field]])) as Partial<PodCgroupState>,
      grows: current ? compareLimits(wanted[fields[0]!]!, current[fields[0]!]!) : 0,
    }));
    for (const { change, grows } of parts) if (grows > 0) await setPod(change);
    await updateContainers(kit, pod, name, updates);
    for (const { change, grows } of parts.reverse()) if (grows < 0) await setPod(change);
  }
}

/** -1 is no limit. */
function compareLimits(a: number, b: number): number {
  const value = (limit: number) => (limit < 0 ? Number.POSITIVE_INFINITY : limit);
  return value(a) === value(b) ? 0 : value(a) - value(b);
}

/** Tells the runtime what the pod as a whole has, in case that it matters there (a virtual machine). */
async function tellSandbox(kit: PodKit, pod: Pod, podSandboxId: string, limits: PodCgroupState): Promise<void> {
  // The cgroup's limits include the overhead, which the runtime is told apart.
  const { resources, overhead } = sandboxResources(pod, () => limits);
  const less = overhead && {
    ...resources,
    cpuShares: resources.cpuShares - overhead.cpuShares,
    cpuQuota: resources.cpuQuota > 0n ? resources.cpuQuota - overhead.cpuQuota : 0n,
    memoryLimitInBytes:
      resources.memoryLimitInBytes > 0n ? resources.memoryLimitInBytes - overhead.memoryLimitInBytes : 0n,
  };
  try {
    await kit.client.runtime.updatePodSandboxResources(
      { podSandboxId, resources: less ?? resources, ...(overhead ? { overhead } : {}) },
      { timeoutMs: kit.settings.runtimeRequestTimeoutMs },
    );
  } catch (error) {
    if (!isUnimplemented(error)) throw error;
  }
}

/** Those that shrink first, so that the sum never grows on the way. */
async function updateContainers(kit: PodKit, pod: Pod, name: Resizable, updates: readonly Update[]): Promise<void> {
  const growth = ({ container, inForce }: Update): number => {
    const now = effectiveLimits(pod.spec.resources, container.resources);
    return amount(now, name) - amount(inForce, name);
  };
  const affected = updates.filter((update) => differs(pod, update, name));
  for (const update of [...affected].sort((a, b) => growth(a) - growth(b))) {
    const { container, running } = update;
    const next = mixed(update.inForce, effectiveLimits(pod.spec.resources, container.resources), name);
    const linux = containerResources(
      {
        ...pod,
        spec: { ...pod.spec, ...(pod.spec.resources ? { resources: withoutLimits(pod.spec.resources) } : {}) },
      },
      { ...container, resources: { ...container.resources, ...next } },
      resourceDefaults(kit),
    );
    // What has processors for itself keeps having no quota.
    if (hasWholeCpus(kit, pod, container)) linux.cpuQuota = -1n;
    await kit.client.runtime.updateContainerResources(
      { containerId: running.id, linux },
      { timeoutMs: kit.settings.runtimeRequestTimeoutMs },
    );
    update.inForce = next;
    const own = mixed(
      kit.resizes.actuated(pod.metadata.uid)?.containers[container.name] ?? {},
      container.resources ?? {},
      name,
    );
    kit.resizes.actuatedContainer(pod.metadata.uid, container.name, own);
  }
}

function hasWholeCpus(kit: PodKit, pod: Pod, container: Container): boolean {
  const cpu = quantityMilli(container.resources?.requests?.['cpu'] ?? '0');
  return cpu > 0 && cpu % 1000 === 0 && kit.grants.hasExclusiveCpus(pod.metadata.uid);
}

/** The limits in `next` are complete: those of the pod as a whole are in them already. */
function withoutLimits({ limits: _limits, ...rest }: ResourceRequirements): ResourceRequirements {
  return rest;
}

function differs(pod: Pod, { container, inForce }: Update, name: Resizable): boolean {
  const now = effectiveLimits(pod.spec.resources, container.resources);
  return (['requests', 'limits'] as const).some((kind) => now[kind]?.[name] !== inForce[kind]?.[name]);
}

/** One resource of `after`, the other of `before`. */
function mixed(before: ResourceRequirements, after: ResourceRequirements, name: Resizable): ResourceRequirements {
  const list = (kind: 'requests' | 'limits') => {
    const values = resizable.flatMap((one) => {
      const value = (one === name ? after : before)[kind]?.[one];
      return value === undefined ? [] : [[one, value] as const];
    });
    return Object.fromEntries(values);
  };
  return { limits: list('limits'), requests: list('requests') };
}

function amount(resources: ResourceRequirements, name: Resizable): number {
  const value = resources.limits?.[name] ?? resources.requests?.[name];
  return value === undefined ? 0 : quantityMilli(value);
}

/** A limit below what is in use would have the kernel kill: such a resize waits. @throws Error saying what is too small */
async function checkMemory(
  kit: PodKit,
  pod: Pod,
  current: PodCgroupState,
  wanted: PodCgroupState,
  updates: readonly Update[],
): Promise<void> {
  const problems: string[] = [];
  const used = current.memoryUsageBytes ?? 0;
  if (compareLimits(wanted.memoryBytes, current.memoryBytes) < 0 && used >= wanted.memoryBytes)
    problems.push(`attempting to set pod memory limit (${wanted.memoryBytes}) below current usage (${used})`);
  for (const { container, running, inForce } of updates) {
    const limit = quantityValue(effectiveLimits(pod.spec.resources, container.resources).limits?.['memory'] ?? '0');
    const before = quantityValue(inForce.limits?.['memory'] ?? '0');
    if (limit === 0 || (before !== 0 && limit >= before)) continue;
    const usage = await containerMemory(kit, running.id);
    if (usage === undefined) problems.push(`missing container "${container.name}" memory usage`);
    else if (usage >= limit) {
      const text = `attempting to set container "${container.name}" memory limit (${limit}) below current usage (${usage})`;
      problems.push(text);
    }
  }
  if (problems.length === 0) return;
  const list = problems.length === 1 ? problems[0] : `[${problems.join(', ')}]`;
  throw new Error(`cannot decrease memory limits: ${list}`);
}

async function containerMemory(kit: PodKit, containerId: string): Promise<number | undefined> {
  try {
    const { stats } = await kit.client.runtime.containerStats({ containerId }, { timeoutMs: 10_000 });
    const bytes = stats?.memory?.usageBytes?.value ?? stats?.memory?.workingSetBytes?.value;
    return bytes === undefined ? undefined : Number(bytes);
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
