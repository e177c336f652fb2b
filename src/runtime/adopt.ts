import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { faultPoint } from '../async/index.ts';
import { isRunning } from '../host/exec/index.ts';
import { isPinned, namespaceFiles, unpinNamespace } from '../host/namespaces/index.ts';
import { endAbandonedExecs } from './containers/exec.ts';
import { noteExit, takeLostExit } from './containers/exited.ts';
import { collectMappedVolumes } from './containers/mapped-volumes.ts';
import { endMonitor } from './containers/monitor.ts';
import { releaseContainer } from './containers/remove-container.ts';
import { clearTask } from './containers/task-cleanup.ts';
import type { RuntimeContext } from './context.ts';
import { unlessMissing } from './errors.ts';
import { toNanoseconds } from './identifiers.ts';
import { networkRequest } from './sandboxes/network-request.ts';
import { releaseUnfinished } from './sandboxes/release-sandbox.ts';
import { unmountSandboxFiles } from './sandboxes/sandbox-files.ts';
import type { ContainerRecord } from './store/container-record.ts';
import { removeTree } from './store/json-file.ts';
import type { SandboxRecord } from './store/sandbox-record.ts';

/**
 * Makes what is on the machine and what the records say agree, after any kind of end of the last run:
 * half-made sandboxes are undone, running containers are adopted, ends that nobody saw are taken down, and what no
 * record names is removed. What cannot be put in order is told and left to the calls that stop and remove it: it must
 * not keep the rest from being served.
 */
export async function adopt(context: RuntimeContext): Promise<void> {
  const rebooted = await noteBoot(context);
  await faultPoint('adopt:boot');
  const { sandboxes, containers } = context.store;
  const each = <T extends { id: string }>(kind: string, records: T[], adoptOne: (record: T) => Promise<void>) =>
    Promise.all(
      records.map((record) =>
        adoptOne(record).catch((error: unknown) =>
          context.log.error(`a ${kind} of the last run cannot be put in order`, { id: record.id, error }),
        ),
      ),
    );
  const exits = new Set(await readdir(context.paths.exits));
  await each('container', containers.list(), (container) => adoptContainer(context, container, { rebooted, exits }));
  await faultPoint('adopt:containers');
  await each('sandbox', sandboxes.list(), (sandbox) => adoptSandbox(context, sandbox, rebooted));
  await faultPoint('adopt:sandboxes');
  await removeUnknown(context);
  await faultPoint('adopt:unknown');
  // Plugins are told of a sandbox that has ended when it is removed; the bridge has nothing of it to keep.
  const attached = sandboxes
    .list()
    .filter(({ phase, network }) => network && (phase === 'ready' || network.kind === 'cni'));
  await context.network.collect(attached.map(networkRequest));
  await faultPoint('adopt:network');
}

async function adoptSandbox(context: RuntimeContext, sandbox: SandboxRecord, rebooted: boolean): Promise<void> {
  const { sandboxes } = context.store;
  if (sandbox.phase === 'creating') {
    await releaseUnfinished(context, sandbox);
    await faultPoint('adopt:undone');
    return sandboxes.delete(sandbox.id);
  }
  if (sandbox.phase === 'notReady' || (!rebooted && isWhole(sandbox))) return;
  // Its attachment stays noted: a plugin has given it an address that must be given back.
  const error = await sandboxes.note(sandbox.id, { phase: 'notReady', namespaces: {}, holder: undefined });
  if (error) context.log.error('the end of a sandbox cannot be written down', { id: sandbox.id, error });
}

/** Whether a sandbox has all that it had: a call that stops it may have been cut off in the middle. */
function isWhole({ namespaces, holder }: SandboxRecord): boolean {
  return Object.values(namespaces).every(isPinned) && (!holder || isRunning(holder));
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

async function adoptContainer(
  context: RuntimeContext,
  record: ContainerRecord,
  { rebooted, exits }: { rebooted: boolean; exits: ReadonlySet<string> },
): Promise<void> {
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
    const error = await containers.note(record.id, {
      phase: { name: 'exited', startedAtNs: '0', finishedAtNs, exitCode: 128, reason: 'StartError', message },
    });
    if (error) context.log.error('the end of a container cannot be written down', { id: record.id, error });
    return;
  }
  if (record.phase.name === 'running') {
    if (exits.has(record.id)) await noteExit(context, record.id);
    const { phase } = containers.get(record.id);
    if (phase.name === 'running' && (rebooted || !isRunning(phase.process))) await takeLostExit(context, record.id);
    else if (phase.name === 'running') await endAbandonedExecs(context, record);
    return;
  }
  if (rebooted && record.phase.name === 'created') {
    await releaseContainer(context, record);
    await containers.delete(record.id);
  } else if (record.phase.name === 'exited' && context.cgroups.exists(record.cgroupPath)) {
    // Its end was written down, and the last run ended before it had cleared up.
    await clearTask(context, record);
    await context.forgetExit(record.id);
  }
}

/** Directories and roots that no record names: of creations that were cut off before their record was written. */
async function removeUnknown(context: RuntimeContext): Promise<void> {
  // Files that were written and not yet put in their place.
  for (const name of await readdir(context.settings.root))
    if (name.endsWith('.tmp')) await removeTree(join(context.settings.root, name));
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
