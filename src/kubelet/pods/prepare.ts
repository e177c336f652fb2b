import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pod } from '../../api/index.ts';
import { describeError, PodError } from '../errors.ts';
import { usedVolumes } from '../volumes/used-volumes.ts';
import { noteFailure, noteSuccess, type PodKit } from './kit.ts';
import { podDirectory, podLogDirectory } from './names.ts';
import type { PodRecord, PreparedPod } from './pod-record.ts';

/** Longest wait for a pod's volumes in one go, milliseconds. */
const mountTimeoutMs = 123_000;

/**
 * Makes what a pod's containers need: directories, cgroup, volumes. Once made it is kept; calls in between share the work.
 * @throws PodError MountError, after the event
 */
export function preparePod(kit: PodKit, record: PodRecord): Promise<PreparedPod> {
  // An ephemeral container may come with a volume that nothing has used before.
  if (
    record.prepared &&
    usedVolumes(record.pod).every(({ name, image }) => image || record.prepared!.volumes.has(name))
  )
    return Promise.resolve(record.prepared);
  record.preparing ??= prepare(kit, record).finally(() => {
    record.preparing = undefined;
  });
  return record.preparing;
}

async function prepare(kit: PodKit, record: PodRecord): Promise<PreparedPod> {
  const { pod } = record;
  const base = await prepareBase(kit, record);
  const signal = AbortSignal.any([record.abort.signal, AbortSignal.timeout(mountTimeoutMs)]);
  try {
    const volumes = await kit.timelines.measure(pod, 'volumes', () => kit.volumes.mount(pod, signal));
    noteSuccess(kit, record, 'volumes');
    record.prepared = { ...base, volumes };
    return record.prepared;
  } catch (error) {
    record.abort.signal.throwIfAborted();
    noteFailure(kit, record, 'volumes');
    const text = describeError(error);
    kit.events.warning(pod, 'FailedMount', text);
    throw new PodError('MountError', text, { cause: error });
  }
}

/** The part that the sandbox needs: directories and cgroup. */
export function prepareBase(kit: PodKit, record: PodRecord): Promise<Omit<PreparedPod, 'volumes'>> {
  record.preparingBase ??= makeBase(kit, record).finally(() => {
    record.preparingBase = undefined;
  });
  return record.preparingBase;
}

async function makeBase(kit: PodKit, record: PodRecord): Promise<Omit<PreparedPod, 'volumes'>> {
  const { pod } = record;
  const { uid = '', namespace = '', name = '' } = pod.metadata;
  const { rootDirectory, podLogsDirectory } = kit.settings;
  const directory = podDirectory(rootDirectory, uid);
  const logDirectory = podLogDirectory(podLogsDirectory, { uid, namespace, name });
  const [cgroupParent] = await Promise.all([
    kit.timelines.measure(pod, 'cgroup', () => kit.cgroups.ensure(pod)),
    mkdir(logDirectory, { recursive: true, mode: 0o755 }),
    ...['volumes', 'plugins', 'containers'].map((part) =>
      mkdir(join(directory, part), { recursive: true, mode: 0o750 }),
    ),
  ]);
  return { cgroupParent, logDirectory };
}

/**
 * Whether a pod's volumes hardly can fail to be mounted, so that the sandbox may be made at the same time.
 * Others are mounted first: a pod that waits for a missing ConfigMap should hold no sandbox.
 */
export function volumesAreSafe(pod: Pod): boolean {
  return (pod.spec!.volumes ?? []).every(
    (volume) =>
      volume.emptyDir ||
      volume.downwardAPI ||
      volume.image ||
      (volume.hostPath && !volume.hostPath.type) ||
      (volume.projected && volume.name.startsWith('kube-api-access-')),
  );
}
