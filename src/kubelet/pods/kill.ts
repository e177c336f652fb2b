import type { Container, LifecycleHandler } from '../../api/index.ts';
import { describeError } from '../errors.ts';
import { runHook } from './hooks.ts';
import type { PodKit } from './kit.ts';
import { annotations, isSidecar } from './names.ts';
import type { PodRecord } from './pod-record.ts';
import { isNotFound } from './runtime-client.ts';
import { type RuntimeContainer, readySandbox } from './runtime-state.ts';
import { everyContainer } from './security-context.ts';

/** Least time between the stop signal and the kill, seconds, when nobody asked for less. */
const leastGraceSeconds = 2;

/** How a container is to be stopped. */
export interface KillOptions {
  /** Text of the Killing event. */
  event: string;
  /** Overrides the pod's grace period, seconds. */
  graceSeconds?: number;
  /** Resolves when the containers have ended that must end before this one is signalled. */
  after?: Promise<unknown>;
  signal?: AbortSignal;
}

/** Stops a container: event, preStop hook, stop signal, and the kill at the end of the grace period. */
export async function killContainer(
  kit: PodKit,
  record: PodRecord,
  container: RuntimeContainer,
  options: KillOptions,
): Promise<void> {
  const { pod } = record;
  const grace = options.graceSeconds ?? podGraceSeconds(record);
  const startedAt = kit.clock.monotonic();
  const leftMs = () => Math.max(0, grace * 1000 - (kit.clock.monotonic() - startedAt));
  if (!record.stopping.has(container.id)) {
    kit.events.normal(pod, 'Killing', options.event, container.name);
    record.stopping.add(container.id);
    await runPreStop(kit, record, container, leftMs(), options.signal);
  }
  if (options.after) {
    const late = new AbortController();
    await Promise.race([options.after, kit.clock.sleep(leftMs(), late.signal).catch(() => {})]);
    late.abort();
  }
  options.signal?.throwIfAborted();
  const seconds = Math.ceil(leftMs() / 1000);
  const timeout = options.graceSeconds === undefined ? Math.max(leastGraceSeconds, seconds) : Math.max(0, seconds);
  try {
    await kit.client.runtime.stopContainer(
      { containerId: container.id, timeout: BigInt(timeout) },
      {
        timeoutMs: timeout * 1000 + kit.settings.runtimeRequestTimeoutMs,
        ...(options.signal ? { signal: options.signal } : {}),
      },
    );
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  await kit.cache.refreshContainer(container.id, container.sandboxId);
  kit.timelines.note(pod, 'stopped', { startedAt, container: container.name });
}

/** The grace period of a pod, seconds: an override, what the deletion says, what the spec says. */
export function podGraceSeconds({ pod, graceSeconds }: PodRecord): number {
  if (graceSeconds !== undefined) return graceSeconds;
  const { deletionTimestamp, deletionGracePeriodSeconds } = pod.metadata;
  const grace =
    deletionTimestamp !== undefined && deletionGracePeriodSeconds !== undefined
      ? deletionGracePeriodSeconds
      : (pod.spec?.terminationGracePeriodSeconds ?? 30);
  return Math.max(1, grace);
}

async function runPreStop(
  kit: PodKit,
  record: PodRecord,
  container: RuntimeContainer,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<void> {
  const spec = everyContainer(record.pod).find(({ name }) => name === container.name);
  const hook = spec ? spec.lifecycle?.preStop : keptHook(container);
  if (!hook || timeoutMs <= 0 || container.state !== 'running') return;
  const late = new AbortController();
  const timer = kit.clock.after(timeoutMs, () => late.abort(new Error('the grace period is over')));
  const context = {
    client: kit.client,
    clock: kit.clock,
    podIp: readySandbox(kit.cache.pod(container.podUid))?.ips[0] ?? kit.node.hostIps()[0] ?? '',
    signal: signal ? AbortSignal.any([signal, late.signal]) : late.signal,
  };
  const named: Pick<Container, 'name' | 'ports'> = spec ?? { name: container.name, ports: keptPorts(container) };
  try {
    await runHook(context, record.pod, named, container.id, hook, timeoutMs);
  } catch (error) {
    signal?.throwIfAborted();
    const message = late.signal.aborted
      ? 'PreStopHook did not complete within the grace period'
      : `PreStopHook failed: ${describeError(error)}`;
    kit.events.warning(record.pod, 'FailedPreStopHook', message, container.name);
  } finally {
    timer.cancel();
  }
}

/** The hook as the container's annotation keeps it: for pods whose spec is gone. */
function keptHook(container: RuntimeContainer): LifecycleHandler | undefined {
  return parse(container.annotations[annotations.preStopHandler]) as LifecycleHandler | undefined;
}

function keptPorts(container: RuntimeContainer): NonNullable<Container['ports']> {
  return (parse(container.annotations[annotations.ports]) as Container['ports']) ?? [];
}

function parse(text: string | undefined): unknown {
  try {
    return text ? JSON.parse(text) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Stops every container of a pod at once, except that sidecars wait for the others and then end in the reverse of
 * their order. All share one grace period.
 */
export async function killContainers(kit: PodKit, record: PodRecord, signal?: AbortSignal): Promise<void> {
  const runtime = kit.cache.pod(record.pod.metadata.uid!);
  const running = runtime.containers.filter(({ state }) => state === 'running' || state === 'unknown');
  const order = (record.pod.spec?.initContainers ?? []).filter(isSidecar).map(({ name }) => name);
  const startedAt = kit.clock.monotonic();
  const graceSeconds =
    record.graceSeconds ?? (record.pod.metadata.deletionTimestamp ? podGraceSeconds(record) : undefined);
  const kill = (container: RuntimeContainer, after?: Promise<unknown>) =>
    killContainer(kit, record, container, {
      event: `Stopping container ${container.name}`,
      ...(graceSeconds !== undefined ? { graceSeconds } : {}),
      ...(after ? { after } : {}),
      ...(signal ? { signal } : {}),
    });
  const isLate = ({ name }: RuntimeContainer) => order.includes(name);
  const kills: Promise<void>[] = running.filter((one) => !isLate(one)).map((one) => kill(one));
  let before: Promise<unknown> = Promise.allSettled(kills);
  for (const container of running.filter(isLate).sort((a, b) => order.indexOf(b.name) - order.indexOf(a.name))) {
    const done = kill(container, kills.length > 0 ? before : undefined);
    kills.push(done);
    before = Promise.allSettled([before, done]);
  }
  const results = await Promise.allSettled(kills);
  signal?.throwIfAborted();
  const failed = results.find((one) => one.status === 'rejected');
  if (failed) throw (failed as PromiseRejectedResult).reason;
  if (running.length > 0) kit.timelines.note(record.pod, 'containers stopped', { startedAt });
}

/** Stops a sandbox (what still runs in it ends with it) and frees its network. */
export async function stopSandbox(kit: PodKit, sandboxId: string): Promise<void> {
  try {
    await kit.client.runtime.stopPodSandbox(
      { podSandboxId: sandboxId },
      { timeoutMs: kit.settings.runtimeRequestTimeoutMs },
    );
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  await kit.cache.refreshSandbox(sandboxId);
}
