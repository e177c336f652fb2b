import { basename, join } from 'node:path';
import { type ContainerConfig, type Mount, NamespaceMode } from '../../../api/cri/index.ts';
import { namespaceFiles } from '../../../host/namespaces/index.ts';
import { invalid, notInState } from '../../errors.ts';
import type { ContainerRecord, ResolvedUser } from '../../store/container-record.ts';
import type { SandboxRecord } from '../../store/sandbox-record.ts';
import { applyCdiEdits } from '../cdi/apply-edits.ts';
import { cdiNames, findCdiEdits } from '../cdi/find-devices.ts';
import type { ImageConfig } from '../image-config.ts';
import { resolveDevices, showDevices } from './devices.ts';
import { addHooks } from './hooks.ts';
import { resolveLabels } from './labels.ts';
import { resolveMounts, type SandboxMounts } from './mounts.ts';
import type { OciProcess, OciSpec } from './oci-spec.ts';
import { resolveProcess } from './process.ts';
import { type MachineResources, ociResources } from './resources.ts';
import { resolveSeccomp } from './seccomp.ts';

/** What all containers of a runtime have in common. */
export interface SpecGround {
  kernel: { apparmor: boolean; selinux: boolean; capabilities: ReadonlySet<string> };
  resources: MachineResources;
  seccompProfileRoot: string;
  ulimits: Readonly<Record<string, { soft: number; hard: number }>>;
  cdiSpecDirs: readonly string[];
  hooksDirs: readonly string[];
}

/** What a container's OCI configuration is made of. */
export interface SpecInputs {
  ground: SpecGround;
  config: ContainerConfig;
  sandbox: SandboxRecord;
  sandboxMounts: SandboxMounts;
  rootfs: string;
  image: ImageConfig;
  imageMounts: ReadonlyMap<string, string>;
  imageReference: string;
  user: ResolvedUser;
  cgroupPath: string;
  oomScoreAdj: number | undefined;
  recursiveReadOnlyProblem: () => Promise<string | undefined>;
  mapVolumes: (volumes: readonly { mount: Mount; source: string }[]) => Promise<ReadonlyMap<Mount, string>>;
  /** The container whose PID namespace it joins (mode TARGET). */
  target?: ContainerRecord;
}

/** Makes the OCI configuration of a container. @throws RuntimeError for what is asked for wrongly */
export async function buildSpec(inputs: SpecInputs): Promise<OciSpec> {
  const { config, sandbox, ground } = inputs;
  const context = config.linux?.securityContext;
  const privileged = context?.privileged ?? false;
  if (privileged && !sandbox.config.linux?.securityContext?.privileged)
    throw invalid('no privileged container allowed in sandbox');
  const process = resolveProcess({
    config,
    image: inputs.image,
    user: inputs.user,
    hostname: sandbox.config.hostname,
    available: ground.kernel.capabilities,
    oomScoreAdj: inputs.oomScoreAdj,
    ulimits: ground.ulimits,
  });
  const { mountLabel, ...labels } = resolveLabels(context, ground.kernel);
  const mappings = sandbox.userMapping && ociMappings(sandbox.userMapping);
  const spec: OciSpec = {
    ociVersion: '1.0.2',
    root: { path: inputs.rootfs, readonly: context?.readonlyRootfs ?? false },
    process: { ...process, ...labels },
    mounts: [],
    annotations: annotations(inputs),
    linux: {
      namespaces: namespaces(inputs),
      cgroupsPath: inputs.cgroupPath,
      devices: [],
      resources: { devices: [], ...ociResources(config.linux?.resources, ground.resources) },
      maskedPaths: privileged ? [] : (context?.maskedPaths ?? []),
      readonlyPaths: privileged ? [] : (context?.readonlyPaths ?? []),
      ...mappings,
      ...(mountLabel ? { mountLabel } : {}),
    },
  };
  await addParts(spec, inputs, process);
  return spec;
}

/** What is looked up on the machine: mounts, devices, profiles, hooks. */
async function addParts(spec: OciSpec, inputs: SpecInputs, process: OciProcess): Promise<void> {
  const { config, sandbox, ground } = inputs;
  const context = config.linux?.securityContext;
  const privileged = context?.privileged ?? false;
  const [{ mounts, rootfsPropagation }, { devices, rules, sources }, seccomp, edits] = await Promise.all([
    resolveMounts({
      ...inputs,
      asked: config.mounts,
      images: inputs.imageMounts,
      sandbox: inputs.sandboxMounts,
      system: {
        privileged,
        hostNetwork: !sandbox.namespaces.network,
        hostIpc: !sandbox.namespaces.ipc,
        userNamespace: sandbox.userMapping !== undefined,
      },
      readonlyRootfs: context?.readonlyRootfs ?? false,
    }),
    resolveDevices(config.devices, privileged),
    resolveSeccomp({
      profile: context?.seccomp,
      profilePath: context?.seccompProfilePath ?? '',
      privileged,
      capabilities: process.capabilities.bounding,
      profileRoot: ground.seccompProfileRoot,
    }),
    findCdiEdits(cdiNames(config), ground.cdiSpecDirs),
  ]);
  spec.mounts = mounts;
  spec.linux.devices = devices;
  spec.linux.resources.devices = rules;
  if (rootfsPropagation) spec.linux.rootfsPropagation = rootfsPropagation;
  if (seccomp) spec.linux.seccomp = seccomp;
  for (const edit of edits) await applyCdiEdits(spec, edit, sources);
  if (sandbox.userMapping) showDevices(spec, sources);
  if (ground.hooksDirs.length > 0) await addHooks(spec, ground.hooksDirs, config.mounts.length > 0);
}

/** Which namespaces the container joins (those of its sandbox), has of its own, or leaves as the host's. */
function namespaces({ sandbox, config, target, ground }: SpecInputs): OciSpec['linux']['namespaces'] {
  const list: OciSpec['linux']['namespaces'] = [{ type: 'mount' }];
  for (const type of ['user', 'network', 'ipc', 'uts'] as const)
    if (sandbox.namespaces[type]) list.push({ type, path: sandbox.namespaces[type] });
  const mode = config.linux?.securityContext?.namespaceOptions?.pid ?? NamespaceMode.POD;
  if (mode === NamespaceMode.CONTAINER) list.push({ type: 'pid' });
  if (mode === NamespaceMode.POD && sandbox.namespaces.pid) list.push({ type: 'pid', path: sandbox.namespaces.pid });
  else if (mode === NamespaceMode.POD) list.push({ type: 'pid' });
  if (mode === NamespaceMode.TARGET) {
    if (target?.phase.name !== 'running')
      throw notInState(`the target container "${target?.id}" of the PID namespace is not running`);
    list.push({ type: 'pid', path: `/proc/${target.phase.process.pid}/ns/${namespaceFiles.pid}` });
  }
  // A privileged container may look after the cgroups of the whole node.
  if (ground.resources.unified && !config.linux?.securityContext?.privileged) list.push({ type: 'cgroup' });
  return list;
}

function ociMappings({ uids, gids }: NonNullable<SandboxRecord['userMapping']>) {
  const convert = (mappings: typeof uids) =>
    mappings.map(({ containerId, hostId, length }) => ({ containerID: containerId, hostID: hostId, size: length }));
  return { uidMappings: convert(uids), gidMappings: convert(gids) };
}

/** Annotations by which OCI runtimes are told to do things: those are the node's to say, not a pod's. */
const commanding = /^(run\.oci\.|org\.systemd\.property\.|com\.github\.containers\.|io\.katacontainers\.)/;

/** Names that tools which look at OCI containers know from other runtimes. */
function annotations({ config, sandbox, imageReference }: SpecInputs): Record<string, string> {
  const { metadata } = sandbox.config;
  return {
    ...Object.fromEntries(Object.entries(config.annotations).filter(([name]) => !commanding.test(name))),
    'io.kubernetes.cri.container-type': 'container',
    'io.kubernetes.cri.container-name': config.metadata?.name ?? '',
    'io.kubernetes.cri.image-name': imageReference,
    'io.kubernetes.cri.sandbox-id': sandbox.id,
    'io.kubernetes.cri.sandbox-name': metadata?.name ?? '',
    'io.kubernetes.cri.sandbox-namespace': metadata?.namespace ?? '',
    'io.kubernetes.cri.sandbox-uid': metadata?.uid ?? '',
  };
}

/** Where a container's log goes. @throws RuntimeError when its name would lead elsewhere */
export function logPathOf(sandbox: SandboxRecord, config: ContainerConfig): string {
  if (!config.logPath || !sandbox.config.logDirectory) return '';
  const path = join(sandbox.config.logDirectory, config.logPath);
  if (basename(path) === '' || !path.startsWith(join(sandbox.config.logDirectory, '/')))
    throw invalid(`log path "${config.logPath}" names no file below the log directory`);
  if (basename(path).includes(':'))
    throw invalid(`log path "${config.logPath}" cannot be used: conmon takes no colon in the name of a log file`);
  return path;
}
