import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { faultPoint } from '../async/index.ts';
import { isRunning } from '../host/exec/index.ts';
import { namespaceFiles, unpinNamespace } from '../host/namespaces/index.ts';
import { conmonFiles } from './containers/conmon.ts';
import { endAbandonedExecs } from './containers/exec.ts';
import { noteExit, takeLostExit } from './containers/exited.ts';
import { collectMappedVolumes } from './containers/mapped-volumes.ts';
import { releaseContainer } from './containers/remove-container.ts';
import { clearTask } from './containers/task-cleanup.ts';
import type { RuntimeContext } from './context.ts';
import { unlessMissing } from './errors.ts';
import { toNanoseconds } from './identifiers.ts';
import { networkRequest } from './sandboxes/network-request.ts';
import { releaseSandbox } from './sandboxes/release-sandbox.ts';
import { unmountSandboxFiles } from './sandboxes/sandbox-files.ts';
import type { ContainerRecord } from './store/container-record.ts';
import { removeTree } from './store/json-file.ts';

/**
 * Makes what is on the machine and what the records say agree, after any kind of end of the last run:
 * half-made sandboxes are undone, running containers are adopted, ends that nobody saw are taken down, and what no
 * record names is removed.
 */
export async function adopt(context: RuntimeContext): Promise<void> {
  const rebooted = await noteBoot(context);
  await faultPoint('adopt:boot');
  const { sandboxes, containers } = context.store;
  for (const container of containers.list()) await adoptContainer(context, container, rebooted);
  await faultPoint('adopt:containers');
  for (const sandbox of sandboxes.list()) {
    if (sandbox.phase === 'creating') {
      await releaseSandbox(context, sandbox);
      await faultPoint('adopt:undone');
      await sandboxes.delete(sandbox.id);
    } else if (rebooted && sandbox.phase === 'ready') {
      await sandboxes.update(sandbox.id, { phase: 'notReady', namespaces: {}, holder: undefined, network: undefined });
    } else if (sandbox.holder && sandbox.phase === 'ready' && !isRunning(sandbox.holder)) {
      await sandboxes.update(sandbox.id, { phase: 'notReady' });
    }
  }
  await faultPoint('adopt:sandboxes');
  await removeUnknown(context);
  await faultPoint('adopt:unknown');
  const attached = sandboxes.list().filter(({ phase, network }) => phase === 'ready' && network);
  await context.network.collect(attached.map(networkRequest));
  await faultPoint('adopt:network');
}

/** Whether the machine was started anew since the last run: then nothing of the state directory is true any more. */
async function noteBoot(context: RuntimeContext): Promise<boolean> {
  const file = join(context.settings.state, 'boot');
  const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  const last = await unlessMissing(readFile(file, 'utf8'));
  if (last === boot) return false;
  if (last !== undefined) {
    await removeTree(context.paths.bundles);
    await removeTree(context.paths.sandboxes);
    await removeTree(context.paths.exits);
    await removeTree(context.paths.ociRoot);
  }
  for (const path of [context.paths.bundles, context.paths.sandboxes, context.paths.exits, context.paths.ociRoot])
    await mkdir(path, { recursive: true, mode: 0o711 });
  await writeFile(file, boot);
  return true;
}

async function adoptContainer(context: RuntimeContext, record: ContainerRecord, rebooted: boolean): Promise<void> {
  const { containers } = context.store;
  if (!context.store.sandboxes.find(record.sandboxId)) {
    await releaseContainer(context, record);
    return containers.delete(record.id);
  }
  if (record.phase.name === 'starting') {
    // Nobody was told that it started: whatever came of it is undone, and the start counts as failed.
    await endMonitor(context, record);
    await clearTask(context, record);
    await context.forgetExit(record.id);
    const finishedAtNs = String(toNanoseconds(context.clock.now()));
    const message = 'the runtime was restarted while the container was being started';
    await containers.update(record.id, {
      phase: { name: 'exited', startedAtNs: '0', finishedAtNs, exitCode: 128, reason: 'StartError', message },
    });
    return;
  }
  if (record.phase.name === 'running') {
    await noteExit(context, record.id);
    const { phase } = containers.get(record.id);
    if (phase.name === 'running' && (rebooted || !isRunning(phase.process))) await takeLostExit(context, record.id);
    else if (phase.name === 'running') await endAbandonedExecs(context, record);
    return;
  }
  if (rebooted && record.phase.name === 'created') {
    await releaseContainer(context, record);
    await containers.delete(record.id);
  }
}

/** Ends the conmon of a container that was being started, so that it reports nothing later. */
async function endMonitor(context: RuntimeContext, record: ContainerRecord): Promise<void> {
  const file = join(context.paths.bundle(record.id), conmonFiles.pid);
  const pid = Number(await unlessMissing(readFile(file, 'utf8')));
  if (!pid) return;
  const commandLine = (await unlessMissing(readFile(`/proc/${pid}/cmdline`, 'utf8'))) ?? '';
  if (!commandLine.includes(record.id)) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

/** Directories and roots that no record names: of creations that were cut off before their record was written. */
async function removeUnknown(context: RuntimeContext): Promise<void> {
  const { sandboxes, containers } = context.store;
  for (const id of (await unlessMissing(readdir(context.paths.sandboxes))) ?? []) {
    if (sandboxes.find(id)) continue;
    const directory = context.paths.sandbox(id);
    for (const file of Object.values(namespaceFiles)) unpinNamespace(join(directory, file));
    unmountSandboxFiles(directory);
    await removeTree(directory);
  }
  for (const id of (await unlessMissing(readdir(context.paths.bundles))) ?? [])
    if (!containers.find(id)) await removeTree(context.paths.bundle(id));
  await collectMappedVolumes(context);
  const known = new Set(containers.list().flatMap(({ id, imageMounts }) => [id, ...imageMounts]));
  for (const key of await context.rootfs.list()) if (!known.has(key)) await context.rootfs.remove(key);
}
