import { hostname } from 'node:os';
import { NamespaceMode, type PodSandboxConfig } from '../../../api/cri/index.ts';
import { cgroupPathOf } from '../../sandboxes/sandbox-cgroup.ts';
import { labels } from '../docker-context.ts';

/** The names that dockershim gave, by which people and their tools know containers of pods. */
export function sandboxContainerName({ metadata }: PodSandboxConfig): string {
  return ['k8s', 'POD', metadata?.name, metadata?.namespace, metadata?.uid, metadata?.attempt ?? 0].join('_');
}

/** What the sandbox's own container is made from. */
export interface SandboxGround {
  image: string;
  /** Name of a runtime of the engine; empty for its default. */
  handler: string;
  /** The adapter's root directory. */
  owner: string;
  /** The engine's cgroup driver. */
  cgroupDriver: string;
  cgroupParent: string;
  oomScoreAdj: number;
}

const nanoCpuShares = 2;

/**
 * The container that holds a sandbox's namespaces, as the engine is asked for it (`POST /containers/create`): without a
 * network of the engine's, for the pod network is ours to make.
 */
export function sandboxBody(config: PodSandboxConfig, ground: SandboxGround): object {
  const options = config.linux?.securityContext?.namespaceOptions;
  const hostNetwork = options?.network === NamespaceMode.NODE;
  return {
    Image: ground.image,
    ...(hostNetwork ? {} : { Hostname: config.hostname || undefined }),
    Labels: {
      ...config.labels,
      [labels.kind]: 'sandbox',
      [labels.owner]: ground.owner,
    },
    Healthcheck: { Test: ['NONE'] },
    // It does nothing but wait: an engine that ends need not ask it.
    StopSignal: 'SIGKILL',
    HostConfig: {
      NetworkMode: hostNetwork ? 'host' : 'none',
      UTSMode: hostNetwork ? 'host' : '',
      IpcMode: options?.ipc === NamespaceMode.NODE ? 'host' : 'shareable',
      PidMode: options?.pid === NamespaceMode.NODE ? 'host' : '',
      CgroupParent: engineCgroupParent(ground.cgroupParent, ground.cgroupDriver),
      CpuShares: nanoCpuShares,
      OomScoreAdj: ground.oomScoreAdj,
      Sysctls: config.linux?.sysctls ?? {},
      ReadonlyRootfs: true,
      SecurityOpt: ['no-new-privileges:true'],
      LogConfig: { Type: 'none' },
      RestartPolicy: { Name: 'no' },
      ...(ground.handler ? { Runtime: ground.handler } : {}),
    },
  };
}

/** The engine takes a path with the cgroupfs driver, and the name of a slice with that of systemd. */
export function engineCgroupParent(path: string, driver: string): string {
  return driver === 'systemd' ? (path.split('/').findLast((one) => one.endsWith('.slice')) ?? '') : path;
}

/** Where the sandbox's containers go. */
export function sandboxCgroupParent(config: PodSandboxConfig, fallback: string): string {
  return config.linux?.cgroupParent ? cgroupPathOf(config.linux.cgroupParent) : fallback;
}

/** The name under which the sandbox's own address is found in its hosts file. */
export const sandboxHostname = (config: PodSandboxConfig): string => config.hostname || hostname();
