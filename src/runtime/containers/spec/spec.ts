import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type ContainerConfig, NamespaceMode } from '../../../api/cri/index.ts';
import { namespaceFiles } from '../../../host/namespaces/index.ts';
import { invalid } from '../../errors.ts';
import type { ContainerRecord, ResolvedUser } from '../../store/container-record.ts';
import type { SandboxRecord } from '../../store/sandbox-record.ts';
import type { ImageConfig } from '../image-config.ts';
import { resolveDevices } from './devices.ts';
import { resolveMounts, type SandboxMounts } from './mounts.ts';
import type { OciSpec } from './oci-spec.ts';
import { resolveProcess } from './process.ts';
import { ociResources } from './resources.ts';
import { resolveSeccomp } from './seccomp.ts';

/** What a container's OCI configuration is made of. */
export interface SpecInputs {
  id: string;
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
  availableCapabilities: ReadonlySet<string>;
  seccompProfileRoot: string;
  /** The container whose PID namespace it joins (mode TARGET). */
  target?: ContainerRecord;
}

/** Makes the OCI configuration of a container. @throws RuntimeError for what is asked for wrongly */
export async function buildSpec(inputs: SpecInputs): Promise<OciSpec> {
  const { config, sandbox } = inputs;
  const context = config.linux?.securityContext;
  const privileged = context?.privileged ?? false;
  if (privileged && !sandbox.config.linux?.securityContext?.privileged)
    throw invalid('no privileged container allowed in sandbox');
  const hostNetwork = !sandbox.namespaces.network;
  const process = resolveProcess({
    config,
    image: inputs.image,
    user: inputs.user,
    hostname: sandbox.config.hostname,
    available: inputs.availableCapabilities,
    oomScoreAdj: inputs.oomScoreAdj,
  });
  const [{ mounts, rootfsPropagation }, { devices, rules }, seccomp] = await Promise.all([
    resolveMounts({
      asked: config.mounts,
      images: inputs.imageMounts,
      sandbox: inputs.sandboxMounts,
      privileged,
      hostNetwork,
      readonlyRootfs: context?.readonlyRootfs ?? false,
    }),
    resolveDevices(config.devices, privileged),
    resolveSeccomp({
      profile: context?.seccomp,
      profilePath: context?.seccompProfilePath ?? '',
      privileged,
      capabilities: process.capabilities.bounding,
      profileRoot: inputs.seccompProfileRoot,
    }),
  ]);
  return {
    ociVersion: '1.0.2',
    root: { path: inputs.rootfs, readonly: context?.readonlyRootfs ?? false },
    process,
    mounts,
    annotations: annotations(inputs),
    linux: {
      namespaces: namespaces(inputs),
      cgroupsPath: inputs.cgroupPath,
      ...(rootfsPropagation ? { rootfsPropagation } : {}),
      devices,
      resources: { devices: rules, ...ociResources(config.linux?.resources) },
      maskedPaths: privileged ? [] : (context?.maskedPaths ?? []),
      readonlyPaths: privileged ? [] : (context?.readonlyPaths ?? []),
      ...(seccomp ? { seccomp } : {}),
    },
  };
}

/** Which namespaces the container joins (those of its sandbox), has of its own, or leaves as the host's. */
function namespaces({ sandbox, config, target }: SpecInputs): OciSpec['linux']['namespaces'] {
  const list: OciSpec['linux']['namespaces'] = [{ type: 'mount' }];
  for (const type of ['network', 'ipc', 'uts'] as const)
    if (sandbox.namespaces[type]) list.push({ type, path: sandbox.namespaces[type] });
  const mode = config.linux?.securityContext?.namespaceOptions?.pid ?? NamespaceMode.POD;
  if (mode === NamespaceMode.CONTAINER) list.push({ type: 'pid' });
  if (mode === NamespaceMode.POD && sandbox.namespaces.pid) list.push({ type: 'pid', path: sandbox.namespaces.pid });
  else if (mode === NamespaceMode.POD) list.push({ type: 'pid' });
  if (mode === NamespaceMode.TARGET) {
    if (target?.phase.name !== 'running') throw invalid('the target container of the PID namespace is not running');
    list.push({ type: 'pid', path: `/proc/${target.phase.process.pid}/ns/${namespaceFiles.pid}` });
  }
  if (existsSync('/sys/fs/cgroup/cgroup.controllers')) list.push({ type: 'cgroup' });
  return list;
}

/** Names that tools which look at OCI containers know from other runtimes. */
function annotations({ config, sandbox, imageReference }: SpecInputs): Record<string, string> {
  const { metadata } = sandbox.config;
  return {
    ...config.annotations,
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
  if (basename(path) === '') throw invalid(`log path "${config.logPath}" names no file`);
  if (basename(path).includes(':'))
    throw invalid(`log path "${config.logPath}" cannot be used: conmon takes no colon in the name of a log file`);
  return path;
}
