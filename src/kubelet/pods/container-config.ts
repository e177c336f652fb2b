import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { type ContainerConfigSchema, NamespaceMode, Signal } from '../../api/cri/index.ts';
import type { Container, EphemeralContainer, Pod } from '../../api/index.ts';
import { describeError, PodError } from '../errors.ts';
import type { PresentImage } from '../images/image-puller.ts';
import { isSelinuxOn } from '../security/selinux.ts';
import type { UserNamespace } from '../security/user-namespaces.ts';
import { inNodeOrder } from '../status/pod-status.ts';
import { withGrant } from './container-grant.ts';
import { containerResources } from './container-resources.ts';
import { type EnvironmentSources, makeEnvironment } from './environment.ts';
import { expandVariables } from './expand.ts';
import { hostsFile, podHostname } from './hostname.ts';
import type { PodKit } from './kit.ts';
import { annotations, containerHash, labels, podDirectory, podLabels } from './names.ts';
import type { PodRecord, PreparedPod } from './pod-record.ts';
import { newestContainer, type RuntimeSandbox } from './runtime-state.ts';
import { resourceDefaults, securityDefaults } from './sandbox-config.ts';
import { containerSecurityContext } from './security-context.ts';
import { volumeDevices } from './volume-devices.ts';
import { type Mount, volumeMounts } from './volume-mounts.ts';

type ContainerConfig = MessageInitShape<typeof ContainerConfigSchema>;

/** What a container's configuration is made from. */
export interface ContainerParts {
  record: PodRecord;
  container: Container | EphemeralContainer;
  sandbox: RuntimeSandbox;
  prepared: PreparedPod;
  image: PresentImage;
  restartCount: number;
  /** What the container's end will cost before the next is started, milliseconds. */
  crashDelayMs: number;
}

/** What the runtime is told about a container. @throws PodError CreateContainerConfigError */
export async function makeContainerConfig(kit: PodKit, parts: ContainerParts): Promise<ContainerConfig> {
  const { record, sandbox, prepared, image, restartCount } = parts;
  const { pod } = record;
  const container = parts.container as Container;
  const environment = await makeEnvironment(pod, container, environmentSources(kit, pod, sandbox, prepared));
  const lookup = (name: string) => environment.get(name);
  const expand = (text: string) => expandVariables(text, lookup);
  const mounts = await volumeMounts(kit, record.pod, {
    container,
    volumes: prepared.volumes,
    environment,
    signal: record.abort.signal,
  });
  const own = await ownMounts(kit, parts, mounts);
  const securityContext = containerSecurityContext(
    pod,
    container,
    image.user,
    securityDefaults(kit),
    kit.users.known(pod),
  );
  const target = (parts.container as EphemeralContainer).targetContainerName;
  if (target && securityContext.namespaceOptions) {
    const id = newestContainer(kit.cache.pod(pod.metadata.uid!), target)?.id;
    if (!id) throw configError(`unable to find target container ${target}`);
    securityContext.namespaceOptions = { ...securityContext.namespaceOptions, pid: NamespaceMode.TARGET, targetId: id };
  }
  const grant = await kit.grants.of(pod, container).catch((error: unknown) => {
    throw configError(describeError(error), error);
  });
  const config: ContainerConfig = {
    metadata: { name: container.name, attempt: restartCount },
    image: { image: image.ref, userSpecifiedImage: container.image! },
    command: (container.command ?? []).map(expand),
    args: (container.args ?? []).map(expand),
    workingDir: container.workingDir ?? '',
    envs: [...environment].map(([key, value]) => ({ key, value: Buffer.from(value) })),
    mounts: [...mounts, ...own],
    devices: volumeDevices(container, pod.spec!.volumes ?? [], prepared),
    labels: { ...podLabels(pod), [labels.containerName]: container.name },
    annotations: containerAnnotations(pod, container, parts),
    logPath: join(container.name, `${restartCount}.log`),
    stdin: container.stdin ?? false,
    stdinOnce: container.stdinOnce ?? false,
    tty: container.tty ?? false,
    linux: { resources: containerResources(pod, container, resourceDefaults(kit)), securityContext },
    ...(container.lifecycle?.stopSignal
      ? {
          stopSignal:
            Signal[
              container.lifecycle.stopSignal.replaceAll(/[+-]/g, (sign) =>
                sign === '+' ? 'PLUS' : 'MINUS',
              ) as keyof typeof Signal
            ],
        }
      : {}),
  };
  return withUsers(withGrant(config, grant), kit.users.known(pod));
}

function environmentSources(kit: PodKit, pod: Pod, sandbox: RuntimeSandbox, prepared: PreparedPod): EnvironmentSources {
  const hostIps = kit.node.hostIps();
  return {
    configMap: kit.objects.configMap,
    secret: kit.objects.secret,
    services: kit.objects.services,
    allocatable: () => (kit.node.node()?.status?.allocatable ?? {}) as Record<string, string>,
    podIps: pod.spec!.hostNetwork ? hostIps : inNodeOrder(sandbox.ips, hostIps),
    hostIps,
    nodeName: kit.settings.nodeName,
    volumes: prepared.volumes,
  };
}

/** From these a restarted kubelet, and users' tools, learn what they need to know. */
function containerAnnotations(
  pod: Pod,
  container: Container,
  { restartCount, crashDelayMs }: ContainerParts,
): Record<string, string> {
  const { deletionGracePeriodSeconds } = pod.metadata;
  const { terminationGracePeriodSeconds } = pod.spec!;
  const preStop = container.lifecycle?.preStop;
  return {
    [annotations.hash]: containerHash(container),
    [annotations.restartCount]: String(restartCount),
    [annotations.crashDelay]: String(crashDelayMs),
    [annotations.terminationMessagePath]: container.terminationMessagePath || '/dev/termination-log',
    [annotations.terminationMessagePolicy]: container.terminationMessagePolicy || 'File',
    ...(preStop ? { [annotations.preStopHandler]: JSON.stringify(preStop) } : {}),
    ...(container.ports?.length ? { [annotations.ports]: JSON.stringify(container.ports) } : {}),
    ...(deletionGracePeriodSeconds !== undefined
      ? { [annotations.podDeletionGracePeriod]: String(deletionGracePeriodSeconds) }
      : {}),
    ...(terminationGracePeriodSeconds !== undefined
      ? { [annotations.podTerminationGracePeriod]: String(terminationGracePeriodSeconds) }
      : {}),
  };
}

/** In a pod with users of its own, what is mounted shows its owners as they are inside. */
function withUsers(config: ContainerConfig, { mode, uids = [], gids = [] }: UserNamespace): ContainerConfig {
  if (mode !== NamespaceMode.POD) return config;
  const mounts = (config.mounts ?? []).map((mount) => ({ ...mount, uidMappings: uids, gidMappings: gids }));
  return { ...config, mounts } as ContainerConfig;
}

/** The files that every container gets from the kubelet: /etc/hosts and the place for its termination message. */
async function ownMounts(kit: PodKit, parts: ContainerParts, mounts: Mount[]): Promise<Mount[]> {
  const { record, sandbox } = parts;
  const { pod } = record;
  const container = parts.container as Container;
  const directory = podDirectory(kit.settings.rootDirectory, pod.metadata.uid!);
  const own: Mount[] = [];
  const taken = new Set(mounts.map(({ containerPath }) => containerPath));
  if (!taken.has('/etc/hosts')) {
    const file = join(directory, 'etc-hosts');
    const names = podHostname(pod, kit.settings.configuration.clusterDomain);
    const hostFile = pod.spec!.hostNetwork ? await readHostFile() : '';
    await writeFile(file, hostsFile(pod, names, sandbox.ips, hostFile), { mode: 0o644 });
    own.push({ containerPath: '/etc/hosts', hostPath: file, selinuxRelabel: isSelinuxOn() });
  }
  const messagePath = container.terminationMessagePath || '/dev/termination-log';
  if (!taken.has(messagePath)) {
    const home = join(directory, 'containers', container.name);
    await mkdir(home, { recursive: true, mode: 0o750 });
    const file = join(home, randomBytes(4).toString('hex'));
    const handle = await open(file, 'w', 0o666);
    await handle.chmod(0o666);
    await handle.close();
    own.push({ containerPath: messagePath, hostPath: file, selinuxRelabel: isSelinuxOn() });
  }
  return own;
}

function readHostFile(): Promise<string> {
  return readFile('/etc/hosts', 'utf8').catch(() => '');
}

function configError(message: string, cause?: unknown): PodError {
  return new PodError('CreateContainerConfigError', message, cause === undefined ? {} : { cause });
}
