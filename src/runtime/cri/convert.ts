import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type Container,
  ContainerSchema,
  ContainerState,
  type ContainerStatus,
  ContainerStatusSchema,
  type Image,
  ImageSchema,
  NamespaceMode,
  type PodIPSchema,
  type PodSandbox,
  PodSandboxSchema,
  PodSandboxState,
  type PodSandboxStatus,
  PodSandboxStatusSchema,
  Signal,
} from '../../api/cri/index.ts';
import type { ImageRecord } from '../images/index.ts';
import type { ContainerRecord } from '../store/container-record.ts';
import type { SandboxRecord } from '../store/sandbox-record.ts';

/** The state of a container as the CRI calls it. */
export function containerState({ phase }: ContainerRecord): ContainerState {
  switch (phase.name) {
    case 'created':
    case 'starting':
      return ContainerState.CONTAINER_CREATED;
    case 'running':
      return ContainerState.CONTAINER_RUNNING;
    case 'exited':
      return ContainerState.CONTAINER_EXITED;
  }
}

/** The state of a sandbox as the CRI calls it. */
export const sandboxState = ({ phase }: SandboxRecord): PodSandboxState =>
  phase === 'ready' ? PodSandboxState.SANDBOX_READY : PodSandboxState.SANDBOX_NOTREADY;

/** A container as lists show it. */
export function toContainer(record: ContainerRecord): Container {
  const { config } = record;
  return create(ContainerSchema, {
    id: record.id,
    podSandboxId: record.sandboxId,
    metadata: config.metadata,
    image: config.image,
    imageRef: record.image.reference,
    imageId: record.image.id,
    state: containerState(record),
    createdAt: record.createdAtNs,
    labels: config.labels,
    annotations: config.annotations,
  });
}

/** A container with all that is known of it. */
export function toContainerStatus(record: ContainerRecord): ContainerStatus {
  const { config, phase } = record;
  const ended = phase.name === 'exited' ? phase : undefined;
  const startedAtNs = phase.name === 'running' || phase.name === 'exited' ? phase.startedAtNs : '0';
  return create(ContainerStatusSchema, {
    id: record.id,
    metadata: config.metadata,
    state: containerState(record),
    createdAt: record.createdAtNs,
    startedAt: BigInt(startedAtNs),
    finishedAt: BigInt(ended?.finishedAtNs ?? 0),
    exitCode: ended?.exitCode ?? 0,
    image: config.image && {
      ...config.image,
      image: config.image.userSpecifiedImage || config.image.image,
    },
    imageRef: record.image.reference,
    imageId: record.image.id,
    reason: ended?.reason ?? '',
    message: ended?.message ?? '',
    labels: config.labels,
    annotations: config.annotations,
    mounts: config.mounts,
    logPath: record.logPath,
    ...(record.resources ? { resources: { linux: record.resources } } : {}),
    user: {
      linux: {
        uid: BigInt(record.user.uid),
        gid: BigInt(record.user.gid),
        supplementalGroups: record.user.groups.map(BigInt),
      },
    },
    stopSignal:
      Signal[record.stopSignal.replace('+', 'PLUS').replace('-', 'MINUS') as keyof typeof Signal] ??
      Signal.RUNTIME_DEFAULT,
  });
}

/** A sandbox as lists show it. */
export function toSandbox(record: SandboxRecord): PodSandbox {
  return create(PodSandboxSchema, {
    id: record.id,
    metadata: record.config.metadata,
    state: sandboxState(record),
    createdAt: record.createdAtNs,
    labels: record.config.labels,
    annotations: record.config.annotations,
    runtimeHandler: record.runtimeHandler,
  });
}

/** A sandbox with its addresses and namespaces. */
export function toSandboxStatus(record: SandboxRecord): PodSandboxStatus {
  const options = record.config.linux?.securityContext?.namespaceOptions;
  const [ip = '', ...more] = record.phase === 'ready' ? (record.network?.ips ?? []) : [];
  return create(PodSandboxStatusSchema, {
    id: record.id,
    metadata: record.config.metadata,
    state: sandboxState(record),
    createdAt: record.createdAtNs,
    network: { ip, additionalIps: more.map((one): MessageInitShape<typeof PodIPSchema> => ({ ip: one })) },
    linux: {
      namespaces: {
        options: {
          network: options?.network ?? NamespaceMode.POD,
          pid: options?.pid ?? NamespaceMode.POD,
          ipc: options?.ipc ?? NamespaceMode.POD,
          targetId: options?.targetId ?? '',
          ...(options?.usernsOptions ? { usernsOptions: options.usernsOptions } : {}),
        },
      },
    },
    labels: record.config.labels,
    annotations: record.config.annotations,
    runtimeHandler: record.runtimeHandler,
  });
}

/** An image as lists and its status show it. */
export function toImage(record: ImageRecord): Image {
  const [user = ''] = (record.configuration.config?.User ?? '').split(':');
  const isNumber = /^\d+$/.test(user);
  return create(ImageSchema, {
    id: record.id,
    repoTags: record.repoTags,
    repoDigests: record.repoDigests,
    size: BigInt(record.size),
    ...(isNumber ? { uid: { value: BigInt(user) } } : { username: user }),
    spec: { image: record.repoTags[0] ?? record.repoDigests[0] ?? record.id },
    pinned: record.pinned,
  });
}
