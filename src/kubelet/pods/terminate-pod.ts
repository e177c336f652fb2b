import { rm, rmdir } from 'node:fs/promises';
import { removeContainer } from './act.ts';
import { killContainers, stopSandbox } from './kill.ts';
import type { PodKit } from './kit.ts';
import { podDirectory, podLogDirectory } from './names.ts';
import type { PodRecord } from './pod-record.ts';
import { isNotFound } from './runtime-client.ts';
import { runsSomething } from './runtime-state.ts';

/**
 * Stops everything of a pod: containers with their grace, then sandboxes.
 * @throws when something could not be stopped, or the signal's reason (a shorter grace period): call it again
 */
export async function terminatePod(kit: PodKit, record: PodRecord): Promise<void> {
  const uid = record.pod.metadata.uid!;
  const { signal } = record.abort;
  kit.timelines.note(record.pod, 'terminating');
  if (record.unsure) {
    await kit.cache.relist(uid);
    record.unsure = false;
  }
  await killContainers(kit, record, signal);
  if (runsSomething(kit.cache.pod(uid))) {
    // Something was started behind our back, or a stop did not take: look again.
    await kit.cache.relist(uid);
    if (runsSomething(kit.cache.pod(uid))) throw new Error('containers still run after they were stopped');
  }
  const startedAt = kit.clock.monotonic();
  const sandboxes = kit.cache.pod(uid).sandboxes.filter(({ ready }) => ready);
  await Promise.all(sandboxes.map(({ id }) => stopSandbox(kit, id)));
  if (sandboxes.length > 0) kit.timelines.note(record.pod, 'sandbox stopped', { startedAt });
}

/** Frees what a pod without containers holds: volumes and cgroup. */
export async function releasePod(kit: PodKit, record: PodRecord): Promise<void> {
  const uid = record.pod.metadata.uid!;
  kit.probes.forget(uid);
  kit.images.forget(uid);
  const startedAt = kit.clock.monotonic();
  await Promise.all([kit.volumes.unmount(uid), kit.cgroups.remove(uid)]);
  record.prepared = undefined;
  kit.timelines.note(record.pod, 'released', { startedAt });
}

/** Takes the remains of a pod that nobody asks about any more out of the runtime, and its directories. */
export async function removePod(kit: PodKit, record: PodRecord): Promise<void> {
  const { uid = '', namespace = '', name = '' } = record.pod.metadata;
  const runtime = kit.cache.pod(uid);
  await Promise.all(runtime.containers.map((container) => removeContainer(kit, record, container)));
  await Promise.all(runtime.sandboxes.map(({ id }) => removeSandbox(kit, id)));
  const { rootDirectory, podLogsDirectory } = kit.settings;
  await Promise.all([
    rm(podLogDirectory(podLogsDirectory, { uid, namespace, name }), { recursive: true, force: true }),
    removePodDirectory(podDirectory(rootDirectory, uid)),
  ]);
}

async function removeSandbox(kit: PodKit, id: string): Promise<void> {
  try {
    await kit.client.runtime.removePodSandbox(
      { podSandboxId: id },
      { timeoutMs: kit.settings.runtimeRequestTimeoutMs },
    );
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  kit.cache.forgetSandbox(id);
}

/** Removes the kubelet's own files of a pod; never descends into volumes, where somebody's data may still be mounted. */
async function removePodDirectory(directory: string): Promise<void> {
  for (const part of ['etc-hosts', 'containers', 'plugins', 'ending.json', 'ending.json.new']) {
    await rm(`${directory}/${part}`, { recursive: true, force: true });
  }
  for (const part of ['volumes', 'volume-subpaths', '']) await rmdir(`${directory}/${part}`).catch(() => {});
}
