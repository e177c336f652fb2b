import { join } from 'node:path';
import { NamespaceMode } from '../../api/cri/index.ts';
import { faultPoint } from '../../async/index.ts';
import { namespaceFiles, unpinNamespace } from '../../host/namespaces/index.ts';
import type { RuntimeContext } from '../context.ts';
import { removeTree } from '../store/json-file.ts';
import type { SandboxRecord } from '../store/sandbox-record.ts';
import { networkRequest } from './network-request.ts';
import { holderCgroup, stopPidHolder } from './pid-holder.ts';
import { unmountSandboxFiles } from './sandbox-files.ts';

/** Gives up what a sandbox keeps while it runs: network, PID holder, namespaces, shared memory. May be called again. */
export async function stopSandboxParts(context: RuntimeContext, record: SandboxRecord): Promise<void> {
  if (hasOwnNetwork(record)) await context.network.detach(networkRequest(record));
  await stopOtherParts(context, record);
}

async function stopOtherParts(context: RuntimeContext, record: SandboxRecord): Promise<void> {
  const directory = context.paths.sandbox(record.id);
  await faultPoint('release-sandbox:network');
  stopPidHolder(record.holder);
  await faultPoint('release-sandbox:holder');
  // The record of one that was being made may know of no holder yet.
  const cgroup = holderCgroup(record);
  if (context.cgroups.exists(cgroup)) {
    await context.cgroups.kill(cgroup, { clock: context.clock });
    await context.cgroups.remove(cgroup, { clock: context.clock });
  }
  for (const file of Object.values(namespaceFiles)) unpinNamespace(join(directory, file));
  await faultPoint('release-sandbox:namespaces');
  unmountSandboxFiles(directory);
}

/** Gives up all of it, with its directory and its own cgroup. */
export async function releaseSandbox(context: RuntimeContext, record: SandboxRecord): Promise<void> {
  await stopSandboxParts(context, record);
  await releaseOthers(context, record);
}

/**
 * The same at a start, for a sandbox whose creation was cut off: the network takes back what it gave by itself, when it is
 * told which sandboxes there are, and a plugin that hangs holds up no start.
 */
export async function releaseUnfinished(context: RuntimeContext, record: SandboxRecord): Promise<void> {
  await stopOtherParts(context, record);
  await releaseOthers(context, record);
}

async function releaseOthers(context: RuntimeContext, record: SandboxRecord): Promise<void> {
  await removeTree(context.paths.sandbox(record.id));
  await faultPoint('release-sandbox:directory');
  const own = join(context.settings.cgroupParent, record.id);
  if (record.cgroupParent === own) {
    await context.cgroups.kill(own, { clock: context.clock });
    await context.cgroups.remove(own, { clock: context.clock });
  }
}

/** Whether it has, or had, a network of its own: also one that was cut off in between, or by a reboot. */
function hasOwnNetwork({ config }: SandboxRecord): boolean {
  return config.linux?.securityContext?.namespaceOptions?.network !== NamespaceMode.NODE;
}
