import type { ContainerConfig, PodSandboxConfig } from '../../../api/cri/index.ts';
import { NamespaceMode } from '../../../api/cri/index.ts';
import { clampOomScoreAdj } from '../../containers/oom-score.ts';
import { refuseUnsupportedSecurity } from '../../containers/spec/security.ts';
import { invalid, RuntimeError } from '../../errors.ts';
import { userMappingOf } from '../../sandboxes/user-mapping.ts';
import type { SandboxRecord } from '../../store/sandbox-record.ts';
import { type DockerContext, labels } from '../docker-context.ts';
import { engineCgroupParent } from '../sandboxes/sandbox-body.ts';
import { engineMounts } from './engine-mounts.ts';
import { engineResources } from './engine-resources.ts';
import { securityOptions } from './security-options.ts';

/** The names that dockershim gave. */
export function containerName(config: ContainerConfig, { metadata: pod }: PodSandboxConfig): string {
  const { name, attempt } = config.metadata ?? {};
  return ['k8s', name, pod?.name, pod?.namespace, pod?.uid, attempt ?? 0].join('_');
}

/** How much of a container's output the engine keeps, from which its log goes on after the adapter was away. */
const engineLog = { Type: 'json-file', Config: { 'max-size': '32m', 'max-file': '2' } };

/** A container as the engine is asked for it (`POST /containers/create`). @throws RuntimeError for what it cannot do */
export async function containerBody(
  context: DockerContext,
  config: ContainerConfig,
  ground: { sandbox: SandboxRecord; imageId: string; stopSignal: string },
): Promise<object> {
  const { sandbox, imageId, stopSignal } = ground;
  refuse(context, config, sandbox);
  const { CgroupDriver } = await context.engine.setup();
  const security = config.linux?.securityContext;
  const [options, mounts] = await Promise.all([
    securityOptions(security, context),
    engineMounts(context.engine, config),
  ]);
  return {
    Image: imageId,
    // One that is given takes the place of the image's, and then of its arguments too.
    ...(config.command.length > 0 ? { Entrypoint: config.command } : {}),
    ...(config.args.length > 0 ? { Cmd: config.args } : {}),
    Env: config.envs.map(({ key, value }) => `${key}=${value}`),
    WorkingDir: config.workingDir,
    User: userOf(config),
    Labels: {
      ...config.labels,
      [labels.kind]: 'container',
      [labels.sandbox]: sandbox.id,
      [labels.owner]: context.settings.root,
    },
    Tty: config.tty,
    OpenStdin: config.stdin,
    StdinOnce: config.stdinOnce,
    StopSignal: stopSignal,
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      ...options,
      ...namespaces(config, sandbox),
      ...engineResources(config.linux?.resources),
      OomScoreAdj: clampOomScoreAdj(context, config.linux?.resources?.oomScoreAdj) ?? 0,
      CgroupParent: engineCgroupParent(sandbox.cgroupParent, CgroupDriver),
      Mounts: mounts,
      Devices: [
        ...(options.Devices ?? []),
        ...config.devices.map(({ hostPath, containerPath, permissions }) => ({
          PathOnHost: hostPath,
          PathInContainer: containerPath,
          CgroupPermissions: permissions,
        })),
      ],
      LogConfig: engineLog,
      RestartPolicy: { Name: 'no' },
      ...(sandbox.runtimeHandler ? { Runtime: sandbox.runtimeHandler } : {}),
    },
  };
}

function refuse({ kernel, store }: DockerContext, config: ContainerConfig, sandbox: SandboxRecord): void {
  if (!config.metadata?.name) throw invalid('container metadata needs a name');
  if (config.windows) throw invalid('a Windows configuration is given, and this is Linux');
  if (config.CDIDevices.length > 0)
    throw new RuntimeError(
      'FAILED_PRECONDITION',
      `CDI devices (${config.CDIDevices.map(({ name }) => name).join(', ')}) are not supported through the Docker Engine`,
    );
  const security = config.linux?.securityContext;
  if (!security) return;
  refuseUnsupportedSecurity(kernel, security);
  if (security.privileged && !sandbox.config.linux?.securityContext?.privileged)
    throw invalid('a privileged container needs a privileged sandbox');
  if (userMappingOf(security.namespaceOptions?.usernsOptions))
    throw invalid('the user namespace of a container must be that of its sandbox');
  const { pid, targetId = '' } = security.namespaceOptions ?? {};
  if (pid !== NamespaceMode.TARGET) return;
  const target = store.containers.find(targetId);
  if (target?.sandboxId !== sandbox.id || target.phase.name !== 'running')
    throw invalid(`PID mode TARGET needs a container of the same pod that runs, and "${targetId}" is none`);
}

/** What the sandbox shares with its containers. */
function namespaces(config: ContainerConfig, sandbox: SandboxRecord): object {
  const options = config.linux?.securityContext?.namespaceOptions;
  const shared = `container:${sandbox.id}`;
  const ofSandbox = sandbox.config.linux?.securityContext?.namespaceOptions;
  const isHost = (kind: 'network' | 'ipc') => ofSandbox?.[kind] === NamespaceMode.NODE;
  return {
    NetworkMode: shared,
    IpcMode: shared,
    UTSMode: isHost('network') ? 'host' : '',
    PidMode: pidMode(options?.pid ?? NamespaceMode.POD, options?.targetId ?? '', shared),
  };
}

function pidMode(mode: NamespaceMode, targetId: string, shared: string): string {
  switch (mode) {
    case NamespaceMode.NODE:
      return 'host';
    case NamespaceMode.CONTAINER:
      return '';
    case NamespaceMode.TARGET:
      return `container:${targetId}`;
    default:
      return shared;
  }
}

/** `user`, `uid` or `uid:gid`; empty for the image's. */
function userOf(config: ContainerConfig): string {
  const { runAsUser, runAsUsername = '', runAsGroup } = config.linux?.securityContext ?? {};
  const user = runAsUser ? String(runAsUser.value) : runAsUsername;
  if (runAsGroup && !user) throw invalid('user group is specified without user');
  return runAsGroup ? `${user}:${runAsGroup.value}` : user;
}
