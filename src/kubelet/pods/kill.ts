import type { Container, LifecycleHandler } from '../../api/index.ts';
import { graceLeftMs, noteEnding, setKillTime } from './ending.ts';
import { type HookContext, runHook } from './hooks.ts';
import type { PodKit } from './kit.ts';
import { annotations, formatPod, isSidecar } from './names.ts';
import type { PodRecord } from './pod-record.ts';
import { isNotFound, isUnavailable } from './runtime-client.ts';
import { type RuntimeContainer, readySandbox } from './runtime-state.ts';
import { everyContainer } from './security-context.ts';

/** Least time between the stop signal and the kill, seconds. */
const leastGraceSeconds = 2;

/** How a container is to be stopped. */
export interface KillOptions {
  /** Text of the Killing event. */
  event: string;
  /** Overrides the pod's grace period, seconds. */
  graceSeconds?: number;
  /** The whole pod ends: all its containers share what is left of its grace period. */
  withPod?: boolean;
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
  const graceMs = (options.graceSeconds ?? podGraceSeconds(record)) * 1000;
  const startedAt = kit.clock.monotonic();
  const leftMs = options.withPod
    ? () => graceLeftMs(kit, record)
    : () => Math.max(0, graceMs - (kit.clock.monotonic() - startedAt));
  if (!record.stopping.has(container.id)) {
    kit.events.normal(pod, 'Killing', options.event, container.name);
    record.stopping.add(container.id);
    if (!record.hooksDone.has(container.id)) {
      const ran = await runPreStop(kit, record, container, leftMs(), options.signal).catch((error: unknown) => {
        // A runtime that is away could not run it: it is due again when that is back.
        if (isUnavailable(error)) record.stopping.delete(container.id);
        throw error;
      });
      record.hooksDone.add(container.id);
      if (ran && options.withPod) await noteEnding(kit, record);
    }
  }
  if (options.after) {
    const late = new AbortController();
    await Promise.race([options.after, kit.clock.sleep(leftMs(), late.signal).catch(() => {})]);
    late.abort();
  }
  options.signal?.throwIfAborted();
  const timeout = Math.max(leastGraceSeconds, Math.ceil(leftMs() / 1000));
  try {
    await kit.client.runtime.stopContainer(
      { containerId: container.id, timeout: BigInt(timeout) },
      {
        timeoutMs: timeout * 1000 + kit.settings.runtimeRequestTimeoutMs,
        ...(options.signal ? { signal: options.signal } : {}),
      },
    );
  } catch (error) {
    options.signal?.throwIfAborted();
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

/** Runs the preStop hook; false when there is none to run. A container that ends meanwhile ends its hook. */
async function runPreStop(
  kit: PodKit,
  record: PodRecord,
  container: RuntimeContainer,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<boolean> {
  const spec = everyContainer(record.pod).find(({ name }) => name === container.name);
  const hook = spec ? spec.lifecycle?.preStop : keptHook(container);
  if (!hook || timeoutMs <= 0 || container.state !== 'running') return false;
  const over = new AbortController();
  let ended = false;
  const timer = kit.clock.after(timeoutMs, () => over.abort(new Error('the grace period is over')));
  const forgetEnd = kit.cache.onEnd(container.id, () => {
    ended = true;
    over.abort(new Error('the container has ended'));
  });
  const context = {
    ...hookContext(kit, record),
    signal: signal ? AbortSignal.any([signal, over.signal]) : over.signal,
  };
  const named: Pick<Container, 'name' | 'ports'> = spec ?? { name: container.name, ports: keptPorts(container) };
  try {
    await runHook(context, record.pod, named, container.id, hook, timeoutMs);
  } catch (error) {
    if (hook.sleep && over.signal.aborted) kit.metrics.count('kubelet_sleep_action_terminated_early_total');
    signal?.throwIfAborted();
    if (isUnavailable(error)) throw error;
    // What went wrong may hold secrets of the server: it is in the log only.
    kit.log.info('a preStop hook failed', { pod: formatPod(record.pod), container: container.name, error });
    if (!ended) kit.events.warning(record.pod, 'FailedPreStopHook', 'PreStopHook failed', container.name);
  } finally {
    timer.cancel();
    forgetEnd();
  }
  return true;
}

/** What the hooks of a pod's containers run with. */
export function hookContext(kit: PodKit, record: PodRecord): Omit<HookContext, 'signal'> {
  const { pod } = record;
  return {
    client: kit.client,
    clock: kit.clock,
    podIp: readySandbox(kit.cache.pod(pod.metadata.uid))?.ips[0] ?? kit.node.hostIps()[0] ?? '',
    onFallback: (host) => {
      const text = `request to HTTPS lifecycle hook ${host} got HTTP response, retry with HTTP succeeded`;
      kit.events.warning(pod, 'LifecycleHTTPFallback', text);
      kit.metrics.count('kubelet_lifecycle_handler_http_fallbacks_total');
    },
  };
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
  setKillTime(kit, record, podGraceSeconds(record));
  if (running.length > 0) await noteEnding(kit, record);
  const kill = (container: RuntimeContainer, after?: Promise<unknown>) =>
    killContainer(kit, record, container, {
      event: `Stopping container ${container.name}`,
      withPod: true,
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
