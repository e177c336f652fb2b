import type { CgroupSample } from '../../host/cgroups/index.ts';
import type { VolumeStatistics } from '../pods/ports.ts';
import type { TreeUsage } from './disk-usage.ts';
import type { InterfaceUsage } from './network-usage.ts';

/** What a cgroup uses, with when that was. */
export interface Usage extends CgroupSample {
  /** Milliseconds since 1970. */
  atMs: number;
  /** Billionths of a processor in use lately; undefined when not known yet. */
  cpuNanoCores: number | undefined;
}

/** A container that runs. */
export interface ContainerUsage {
  id: string;
  name: string;
  image: string;
  startedAt: number;
  logPath: string;
  /** undefined when only the runtime knows. */
  cgroup: string | undefined;
  usage: Usage;
}

/** A pod with a sandbox that is ready. */
export interface PodUsage {
  uid: string;
  name: string;
  namespace: string;
  sandboxId: string;
  startedAt: number;
  hostNetwork: boolean;
  cgroup: string | undefined;
  usage: Usage | undefined;
  /** undefined in the network of the host, and where no process is left to look from. */
  network: InterfaceUsage[] | undefined;
  containers: ContainerUsage[];
}

/** What disks hold of pods: volumes, logs and layers. Measured more rarely. */
export interface DiskUsage {
  /** By pod uid. */
  volumes: Map<string, VolumeStatistics[]>;
  /** By container id. */
  logs: Map<string, TreeUsage>;
  /** Writable layers, by container id. */
  layers: Map<string, TreeUsage & { mountpoint: string }>;
}
