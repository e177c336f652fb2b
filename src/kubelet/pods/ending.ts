import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PodKit } from './kit.ts';
import { formatPod, podDirectory } from './names.ts';
import type { PodFailure, PodRecord } from './pod-record.ts';

/**
 * What is kept on disk of a pod that is being ended, so that a kubelet that is killed meanwhile goes on where it was:
 * not with a whole grace period again, not with hooks that have run, and not by giving up a pod's eviction.
 */
interface EndingFile {
  version: 1;
  /** When the containers are killed, milliseconds since 1970. */
  killAt: number;
  graceSeconds: number;
  /** Ids of containers whose preStop hook has ended. */
  hooksDone: string[];
  failure?: PodFailure;
}

const fileName = 'ending.json';

/** Sets the time by which the pod's containers are killed. A shorter grace period brings it forward; nothing puts it off. */
export function setKillTime(kit: PodKit, record: PodRecord, graceSeconds: number): void {
  const at = kit.clock.monotonic() + graceSeconds * 1000;
  record.killAt = Math.min(record.killAt ?? Number.POSITIVE_INFINITY, at);
}

/** Milliseconds of the grace period that are left. */
export function graceLeftMs(kit: PodKit, { killAt }: PodRecord): number {
  return killAt === undefined ? 0 : Math.max(0, killAt - kit.clock.monotonic());
}

/** Writes down how far the end of a pod has come. A failure is told and is no reason not to end the pod. */
export async function noteEnding(kit: PodKit, record: PodRecord): Promise<void> {
  const leftMs = graceLeftMs(kit, record);
  const content: EndingFile = {
    version: 1,
    killAt: kit.clock.now() + leftMs,
    graceSeconds: Math.ceil(leftMs / 1000),
    hooksDone: [...record.hooksDone],
    ...(record.failure ? { failure: record.failure } : {}),
  };
  const file = join(podDirectory(kit.settings.rootDirectory, record.pod.metadata.uid), fileName);
  try {
    await writeFile(`${file}.new`, JSON.stringify(content), { mode: 0o600 });
    await rename(`${file}.new`, file);
  } catch (error) {
    // Pods without a directory (of a kubelet before us, or removed by hand) end all the same.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      kit.log.warn('cannot note how far the end of a pod is', { pod: formatPod(record.pod), error });
  }
}

/** Takes over what a kubelet before us had begun to end. */
export async function restoreEnding(kit: PodKit, record: PodRecord): Promise<void> {
  const file = join(podDirectory(kit.settings.rootDirectory, record.pod.metadata.uid), fileName);
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return;
  const content = parse(text);
  if (!content) return kit.log.warn('ignoring an unreadable note of how far the end of a pod is', { file });
  // A clock that was set meanwhile must not make it longer than it was.
  const leftMs = Math.min(content.graceSeconds * 1000, Math.max(0, content.killAt - kit.clock.now()));
  record.killAt = kit.clock.monotonic() + leftMs;
  for (const id of content.hooksDone) record.hooksDone.add(id);
  if (content.failure) record.failure ??= content.failure;
}

function parse(text: string): EndingFile | undefined {
  try {
    const content = JSON.parse(text) as EndingFile;
    const fits =
      content.version === 1 &&
      Number.isFinite(content.killAt) &&
      Number.isFinite(content.graceSeconds) &&
      Array.isArray(content.hooksDone);
    return fits ? content : undefined;
  } catch {
    return undefined;
  }
}
