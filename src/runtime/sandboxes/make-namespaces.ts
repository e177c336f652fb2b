import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { NamespaceMode } from '../../api/cri/index.ts';
import {
  configureNamespaces,
  createSandboxNamespaces,
  enterNewUserNamespace,
  namespaceFiles,
  type OwnedNamespace,
  pinNamespace,
  type SharedNamespace,
  startHolder,
  type UserMapping,
} from '../../host/namespaces/index.ts';
import { changeLink, NetlinkSocket } from '../../host/netlink/index.ts';
import type { RuntimeContext } from '../context.ts';
import { RuntimeError, stepFailed } from '../errors.ts';
import { featuresOf } from '../features/index.ts';
import type { SandboxRecord } from '../store/sandbox-record.ts';
import { holderProgram, takeHolder } from './pid-holder.ts';
import { sandboxSysctls } from './sysctls.ts';

/** Makes the namespaces that the containers of a sandbox share, and notes them in its record. */
export async function makeNamespaces(context: RuntimeContext, record: SandboxRecord): Promise<void> {
  const directory = context.paths.sandbox(record.id);
  const options = record.config.linux?.securityContext?.namespaceOptions;
  const ownNetwork = options?.network !== NamespaceMode.NODE;
  const settings = {
    hostname: record.config.hostname,
    sysctls: sandboxSysctls(record.config, context.settings.defaultSysctls),
  };
  // A pod in the host's network has the host's name too.
  const wanted = { network: ownNetwork, ipc: options?.ipc !== NamespaceMode.NODE, uts: ownNetwork };
  try {
    if (record.userMapping) {
      await refuseWithoutUserNamespaces(context, record);
      await makeInUserNamespace(context, record, record.userMapping, wanted);
      configureNamespaces(record.namespaces, settings);
    } else {
      record.namespaces = createSandboxNamespaces({ directory, ...wanted, ...settings });
    }
    if (record.namespaces.network) {
      using socket = new NetlinkSocket({ protocol: 'route', namespace: record.namespaces.network });
      const loopback = 1;
      changeLink(socket, loopback, { up: true });
    }
  } catch (cause) {
    throw stepFailed('cannot make the namespaces of the sandbox', cause);
  }
}

/** Whether the sandbox's containers share a PID namespace. */
export const sharesPids = (record: SandboxRecord): boolean =>
  (record.config.linux?.securityContext?.namespaceOptions?.pid ?? NamespaceMode.POD) === NamespaceMode.POD;

async function refuseWithoutUserNamespaces(context: RuntimeContext, record: SandboxRecord): Promise<void> {
  const { userNamespaceProblem } = await featuresOf(context, record.runtimeHandler);
  if (userNamespaceProblem)
    throw new RuntimeError('FAILED_PRECONDITION', `user namespaces are not supported here: ${userNamespaceProblem}`);
}

async function makeInUserNamespace(
  context: RuntimeContext,
  record: SandboxRecord,
  mapping: UserMapping,
  wanted: { network: boolean; ipc: boolean; uts: boolean },
): Promise<void> {
  const directory = context.paths.sandbox(record.id);
  mkdirSync(directory, { recursive: true });
  const kinds: SharedNamespace[] = (['network', 'ipc', 'uts'] as const).filter((kind) => wanted[kind]);
  if (sharesPids(record)) kinds.push('pid');
  await using keeper = await enterNewUserNamespace(mapping, {
    namespaces: kinds.map((kind) => namespaceFiles[kind] as OwnedNamespace),
    holder: holderProgram(context),
  });
  for (const kind of ['user', ...kinds] as const) {
    const path = join(directory, namespaceFiles[kind]);
    pinNamespace(`/proc/${keeper.pid}/ns/${namespaceFiles[kind]}`, path);
    record.namespaces[kind] = path;
  }
  if (!sharesPids(record)) return;
  await takeHolder(context, record, keeper.pid);
  await keeper.stay();
}

/** Starts the process that keeps a shared PID namespace, where the sandbox needs one and has none yet. */
export async function holdPidNamespace(context: RuntimeContext, record: SandboxRecord): Promise<void> {
  if (!sharesPids(record) || record.holder) return;
  try {
    const { network, ipc, uts } = record.namespaces;
    const inside = { ...(network && { network }), ...(ipc && { ipc }), ...(uts && { uts }) };
    const pid = await startHolder(holderProgram(context), inside, (started) => takeHolder(context, record, started));
    const path = join(context.paths.sandbox(record.id), namespaceFiles.pid);
    pinNamespace(`/proc/${pid}/ns/pid`, path);
    record.namespaces.pid = path;
  } catch (cause) {
    throw stepFailed('cannot make the PID namespace of the sandbox', cause);
  }
}
