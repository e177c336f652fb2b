import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Loaded when it is used: most commands mount nothing. */
const host = () => import('../host/mounts/index.ts');

/** By this name tables of mounts show it, and a later start knows it as its own. */
const source = 'deckhand-state';

/** A container takes about 60 KiB of it, and memory is taken only for what is there. */
const sizeBytes = 64 * 1024 * 1024;

/**
 * Gives the state of the runtime (namespaces, bundles, exit files) a small file system in memory, so that a full disk keeps
 * nobody from running commands in containers. One that is there is kept; so is state that is on the disk already, of pods that a
 * start before this knew put there, until `down` takes them away.
 */
export async function mountState(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o711 });
  const { mountSource, mountTmpfs } = await host();
  if (mountSource(directory) !== undefined || (await hasSandboxes(directory))) return;
  // Others may pass through: bundles are looked at by processes of user namespaces.
  mountTmpfs(directory, { source, sizeBytes, mode: 0o711, plainFiles: true });
}

/** Takes it away, when it is ours and no pod is kept there. */
export async function unmountState(directory: string): Promise<void> {
  const { mountSource, unmount } = await host();
  if (mountSource(directory) === source && !(await hasSandboxes(directory))) unmount(directory);
}

/** Whether pods of an earlier start may still be there. */
export async function hasSandboxes(directory: string): Promise<boolean> {
  return (await readdir(join(directory, 'sandboxes')).catch(() => [])).length > 0;
}
