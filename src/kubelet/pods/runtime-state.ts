import {
  ContainerState,
  type ContainerStatus,
  NamespaceMode,
  PodSandboxState,
  type PodSandboxStatus,
} from '../../api/cri/index.ts';
import { annotations, labels } from './names.ts';

/** A sandbox as the runtime has it. Times are milliseconds since 1970. */
export interface RuntimeSandbox {
  id: string;
  podUid: string;
  podName: string;
  podNamespace: string;
  attempt: number;
  ready: boolean;
  createdAt: number;
  /** Addresses, the primary first; none in the host's network. */
  ips: string[];
  hostNetwork: boolean;
}

/** A container as the runtime has it. Times are milliseconds since 1970, 0 when it has not come to that. */
export interface RuntimeContainer {
  id: string;
  podUid: string;
  sandboxId: string;
  name: string;
  state: 'created' | 'running' | 'exited' | 'unknown';
  /** How often a container of this name was started before. */
  restartCount: number;
  hash: string;
  createdAt: number;
  startedAt: number;
  finishedAt: number;
  /** When it ended, on our monotonic clock, as far as can be told: clocks that jump do not move it. */
  endedMonotonic?: number;
  exitCode: number;
  reason: string;
  /** The runtime's message and the termination message. */
  message: string;
  image: string;
  imageRef: string;
  logPath: string;
  annotations: Record<string, string>;
  /** With an image where that is what is mounted. */
  mounts: { containerPath: string; hostPath: string; image?: string; recursiveReadOnly?: boolean }[];
  resources?: { cpuShares: number; cpuQuota: number; cpuPeriod: number; memoryLimit: number };
  user?: { uid: number; gid: number; supplementalGroups: number[] };
  stopSignal?: number;
}

/** Everything of one pod in the runtime, newest first. */
export interface RuntimePod {
  uid: string;
  name: string;
  namespace: string;
  sandboxes: RuntimeSandbox[];
  containers: RuntimeContainer[];
  /** Something of it is listed but could not be looked at: it must not be taken for missing. */
  incomplete?: boolean;
}

/** A pod of which the runtime has nothing. */
export function emptyRuntimePod(uid: string, name = '', namespace = ''): RuntimePod {
  return { uid, name, namespace, sandboxes: [], containers: [] };
}

/** The newest ready sandbox. */
export function readySandbox(pod: RuntimePod): RuntimeSandbox | undefined {
  return pod.sandboxes.find((sandbox) => sandbox.ready);
}

/** The newest container of the name; with a sandbox, of that sandbox only. */
export function newestContainer(pod: RuntimePod, name: string, sandboxId?: string): RuntimeContainer | undefined {
  return pod.containers.find((one) => one.name === name && (sandboxId === undefined || one.sandboxId === sandboxId));
}

/** Whether anything of the pod runs. */
export function runsSomething(pod: RuntimePod): boolean {
  return pod.containers.some((one) => one.state === 'running' || one.state === 'unknown');
}

const containerStates: Record<ContainerState, RuntimeContainer['state']> = {
  [ContainerState.CONTAINER_CREATED]: 'created',
  [ContainerState.CONTAINER_RUNNING]: 'running',
  [ContainerState.CONTAINER_EXITED]: 'exited',
  [ContainerState.CONTAINER_UNKNOWN]: 'unknown',
};

/** The state of a container by its number in the CRI. */
export function containerStateName(state: ContainerState): RuntimeContainer['state'] {
  return containerStates[state] ?? 'unknown';
}

/** Nanoseconds since 1970 as milliseconds. */
export function nanosToMs(nanos: bigint): number {
  return Number(nanos / 1_000_000n);
}

/** A sandbox from its CRI status. */
export function toRuntimeSandbox(status: PodSandboxStatus): RuntimeSandbox {
  const network = status.network;
  return {
    id: status.id,
    podUid: status.labels[labels.podUid] ?? status.metadata?.uid ?? '',
    podName: status.labels[labels.podName] ?? status.metadata?.name ?? '',
    podNamespace: status.labels[labels.podNamespace] ?? status.metadata?.namespace ?? '',
    attempt: status.metadata?.attempt ?? 0,
    ready: status.state === PodSandboxState.SANDBOX_READY,
    createdAt: nanosToMs(status.createdAt),
    ips: network?.ip ? [network.ip, ...network.additionalIps.map(({ ip }) => ip)] : [],
    hostNetwork: status.linux?.namespaces?.options?.network === NamespaceMode.NODE,
  };
}

/** A container from its CRI status, which does not name its sandbox. */
export function toRuntimeContainer(status: ContainerStatus, sandboxId: string): RuntimeContainer {
  const linux = status.resources?.linux;
  const user = status.user?.linux;
  return {
    id: status.id,
    podUid: status.labels[labels.podUid] ?? '',
    sandboxId,
    name: status.labels[labels.containerName] ?? status.metadata?.name ?? '',
    state: containerStateName(status.state),
    restartCount: Number(status.annotations[annotations.restartCount] ?? status.metadata?.attempt ?? 0),
    hash: status.annotations[annotations.hash] ?? '',
    createdAt: nanosToMs(status.createdAt),
    startedAt: nanosToMs(status.startedAt),
    finishedAt: nanosToMs(status.finishedAt),
    exitCode: status.exitCode,
    reason: status.reason,
    message: status.message,
    image: status.image?.userSpecifiedImage || status.image?.image || '',
    imageRef: status.imageRef || status.imageId,
    logPath: status.logPath,
    annotations: status.annotations,
    mounts: status.mounts.map(({ containerPath, hostPath, image, recursiveReadOnly }) => ({
      ...{ containerPath, hostPath },
      ...(image?.image ? { image: image.image } : {}),
      ...(recursiveReadOnly ? { recursiveReadOnly } : {}),
    })),
    ...(linux
      ? {
          resources: {
            cpuShares: Number(linux.cpuShares),
            cpuQuota: Number(linux.cpuQuota),
            cpuPeriod: Number(linux.cpuPeriod),
            memoryLimit: Number(linux.memoryLimitInBytes),
          },
        }
      : {}),
    ...(user
      ? {
          user: {
            uid: Number(user.uid),
            gid: Number(user.gid),
            supplementalGroups: user.supplementalGroups.map(Number),
          },
        }
      : {}),
    ...(status.stopSignal ? { stopSignal: status.stopSignal } : {}),
  };
}
