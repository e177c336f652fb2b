import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ContainerConfigSchema } from '../../api/cri/index.ts';
import type { Container, Pod } from '../../api/index.ts';

/** What a container gets besides what its pod says: processors and memory nodes of its own, devices. */
export interface ContainerGrant {
  /** Processors it may run on, as the kernel lists them; empty for any. */
  cpus: string;
  /** NUMA nodes its memory may come from; empty for any. */
  memoryNodes: string;
  /** Whether nobody else runs on its processors: no quota is put on them. */
  exclusiveCpus: boolean;
  devices: { containerPath: string; hostPath: string; permissions: string }[];
  mounts: { containerPath: string; hostPath: string; readonly: boolean }[];
  environment: Record<string, string>;
  annotations: Record<string, string>;
  /** Names of CDI devices. */
  cdiDevices: string[];
}

/** Hands out what admission has set aside for a container. Implemented by kubelet/managers. */
export interface ContainerGrants {
  /** What a container that is about to be made gets. @throws Error when a device cannot be made ready */
  of(pod: Pod, container: Container): Promise<ContainerGrant>;
  /** Whether a container of the pod has processors for itself: no quota is put on the pod. */
  hasExclusiveCpus(podUid: string): boolean;
}

type Config = MessageInitShape<typeof ContainerConfigSchema>;

/** The configuration with what the container was granted. What the pod says goes before what a device says. */
export function withGrant(config: Config, grant: ContainerGrant): Config {
  const resources = config.linux?.resources;
  const taken = new Set((config.mounts ?? []).map(({ containerPath }) => containerPath));
  const named = new Set((config.envs ?? []).map(({ key }) => key));
  const environment = Object.entries(grant.environment).filter(([key]) => !named.has(key));
  return {
    ...config,
    envs: [...(config.envs ?? []), ...environment.map(([key, value]) => ({ key, value: Buffer.from(value) }))],
    mounts: [...(config.mounts ?? []), ...grant.mounts.filter(({ containerPath }) => !taken.has(containerPath))],
    devices: [...(config.devices ?? []), ...grant.devices],
    annotations: { ...config.annotations, ...grant.annotations },
    CDIDevices: grant.cdiDevices.map((name) => ({ name })),
    linux: {
      ...config.linux,
      resources: {
        ...resources,
        ...(grant.cpus === '' ? {} : { cpusetCpus: grant.cpus }),
        ...(grant.memoryNodes === '' ? {} : { cpusetMems: grant.memoryNodes }),
        ...(grant.exclusiveCpus ? { cpuQuota: -1n } : {}),
      },
    } as Config['linux'],
  } as Config;
}
