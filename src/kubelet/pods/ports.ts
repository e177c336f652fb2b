/**
 * What the heart of the kubelet (plan, act, worker) asks of its neighbours, and what it offers to them.
 * The neighbours (volumes, resources, node, server) import types from here; startKubelet puts all of them together.
 */
import type { Node, Pod } from '../../api/index.ts';

/** Makes a pod's volumes usable on the host. Implemented by kubelet/volumes. */
export interface PodVolumes {
  /**
   * Mounts (or creates) every volume of the pod and gives where each is: volume name → absolute path on the host.
   * May be called again at any time for a pod whose volumes are mounted: then it answers quickly. Image volumes are
   * not part of it (the runtime mounts those), nor are volumes that no container uses. What fails is told by events and
   * tried again until the signal aborts; the message of the error then becomes the text of the FailedMount event.
   */
  mount(pod: Pod, signal?: AbortSignal): Promise<Map<string, string>>;
  /**
   * The pod runs already, maybe since before this kubelet did: its volumes are taken on again in the background, so that
   * what follows the API goes on following it. Costs nothing when that has been done.
   */
  adopt(pod: Pod): void;
  /**
   * The path to bind-mount for a volume mount with a subPath (already expanded), opened without following a link out of
   * the volume; created as a directory when it is missing. `mountIndex` is the place in the container's volumeMounts.
   */
  subPath(
    pod: Pod,
    request: { container: string; mountIndex: number; volume: string; volumePath: string; subPath: string },
    signal?: AbortSignal,
  ): Promise<string>;
  /** Takes the pod's volumes away, after its last container has ended. Nothing there is not an error. */
  unmount(podUid: string): Promise<void>;
  /** The pod's metadata has changed, or its resync is due: refresh what follows it (downwardAPI, tokens, maps). */
  update(pod: Pod): Promise<void> | void;
  /** Cleans up volumes of pods that are none of these; called once at the start and then now and then. */
  collect(knownPodUids: ReadonlySet<string>): Promise<void>;
  /**
   * Names of attachable volumes in use, for the node's status.volumesInUse; undefined while those of a former life of the
   * kubelet are still being looked for: the status then keeps what it says.
   */
  inUse(): string[] | undefined;
  /** How full the mounted volumes are, as last measured in the background (volumeStatsAggPeriod). Costs nothing. */
  statistics(): VolumeStatistics[];
  /** Ends watches and timers. */
  stop?(): Promise<void> | void;
}

/** How full a volume is; bytes and counts. What is not known is left out. */
export interface VolumeUsage {
  capacityBytes?: number;
  availableBytes?: number;
  usedBytes?: number;
  inodes?: number;
  inodesFree?: number;
  inodesUsed?: number;
  /** Set when the volume's driver says that something is wrong (true) or that all is well (false). */
  abnormal?: boolean;
}

/** How full a volume of a pod is. */
export interface VolumeStatistics {
  podUid: string;
  namespace: string;
  /** The pod's name. */
  pod: string;
  /** The volume's name in the pod. */
  volume: string;
  /** Name of the PersistentVolumeClaim behind it. */
  claim?: string;
  /** Whether its content lies on the node's own disk and counts as the pod's ephemeral-storage. */
  onNodeDisk: boolean;
  /** When it was measured, milliseconds since 1970. */
  atMs: number;
  usage: VolumeUsage;
}

/** The limits of a pod's cgroup; -1 means none. */
export interface PodCgroupState {
  cpuShares: number;
  cpuQuotaUs: number;
  cpuPeriodUs: number;
  memoryBytes: number;
  /** Bytes in use, where it was looked at. */
  memoryUsageBytes?: number;
}

/** Keeps the cgroups of pods. Implemented by kubelet/resources. */
export interface PodCgroups {
  /** Makes what is above the cgroups of pods. @throws Error when it cannot be limited as the configuration says */
  start(): Promise<void>;
  /** Makes the pod's cgroup with its limits, if it is not there, and gives the `cgroup_parent` for its sandbox. */
  ensure(pod: Pod): Promise<string>;
  /** The limits that the pod's cgroup should have. */
  limits(pod: Pod): PodCgroupState;
  /** The limits that it has, and what it uses; undefined when it does not exist. */
  current(pod: Pod): PodCgroupState | undefined;
  /** Whether it was given other limits than it should have: the pod was resized before all of it ran. */
  isOpen(pod: Pod): boolean;
  /** Changes some of its limits. */
  change(pod: Pod, limits: Partial<PodCgroupState>): Promise<void>;
  /** Removes the pod's cgroup, after its last container has ended. Nothing there is not an error. */
  remove(podUid: string): Promise<void>;
  /** Removes the cgroups of pods that are none of these. */
  collect(knownPodUids: ReadonlySet<string>): Promise<void>;
  /** Writes anew what the cgroups above those of pods are limited to. */
  refresh(): Promise<void>;
}

/** Registers the node and keeps its status. Implemented by kubelet/node. */
export interface NodeReporter {
  /** Resolves when the Node object exists and says Ready (at once without an API server). */
  readonly ready: Promise<void>;
  /** The Node object as last seen or, without an API server, as it would be registered: labels, taints, allocatable. */
  node(): Node | undefined;
  /** The addresses that pods report as hostIP(s), the primary first. */
  hostIps(): string[];
  /** Why no pod that needs the network can start now: a message, or undefined when the runtime's network is ready. */
  networkProblem(): string | undefined;
  /** Says that something which the status shows has changed (images, runtime health): write it soon. */
  changed(): void;
  stop(): Promise<void>;
}

/** What a node can run short of, as its conditions name it. */
export const nodePressures = ['MemoryPressure', 'DiskPressure', 'PIDPressure'] as const;

/** One of them. */
export type NodePressure = (typeof nodePressures)[number];

/** What the node reporter asks of the heart. */
export interface NodeInputs {
  /** What the node runs short of now. */
  pressures(): ReadonlySet<NodePressure>;
  /** Why the kubelet cannot work on pods now (an outdated view of the runtime), or undefined when it is well. */
  podLifecycleProblem(): string | undefined;
  /** Names of volumes in use, for status.volumesInUse; undefined when not known yet: what the Node says stays. */
  volumesInUse(): string[] | undefined;
  /** Devices of plugins, by resource: how many there are, and how many can be given. */
  devices(): ReadonlyMap<string, { capacity: number; allocatable: number }>;
}

/** One container as the server's handlers find it. */
export interface ContainerView {
  /** The id in the runtime, without the `containerd://` part. */
  id: string;
  name: string;
  state: 'created' | 'running' | 'exited' | 'unknown';
  restartCount: number;
  /** Absolute path of its log on the host, CRI log format. */
  logPath: string;
  /** Milliseconds since 1970; 0 when not started. */
  startedAt: number;
  /** Whether it has a terminal: exec and attach need to know. */
  tty: boolean;
  stdin: boolean;
}

/** What the kubelet's server asks of the heart. */
export interface PodDirectory {
  /** Every pod that this kubelet knows, with its status as last computed here. */
  pods(): Pod[];
  /** One of them. Static pods are found by the name of their mirror pod, which is their own. */
  pod(namespace: string, name: string): Pod | undefined;
  podByUid(uid: string): Pod | undefined;
  /**
   * A container of the pod: the newest, or with `previous` the one before. Undefined when there is none (yet);
   * the pod's status says why it waits.
   */
  container(podUid: string, name: string, options?: { previous?: boolean }): ContainerView | undefined;
  /** The id of the pod's newest sandbox in the runtime, for port-forward; undefined without a ready one. */
  sandbox(podUid: string): string | undefined;
  /** Calls back when a container of the pod has changed state, until the signal aborts: ends `logs --follow`. */
  onContainerChange(podUid: string, callback: () => void, signal: AbortSignal): void;
  /** Where the time of each pod's start went, oldest first. */
  timelines(): PodTimeline[];
}

/** Steps of a pod's life with the milliseconds since the pod was first seen. */
export interface PodTimeline {
  podUid: string;
  namespace: string;
  name: string;
  /** When it was first seen, milliseconds since 1970. */
  seenAt: number;
  steps: {
    step: string;
    atMs: number;
    /** How long it took, for what has a beginning. */
    durationMs?: number;
    container?: string;
    detail?: string;
    failed?: boolean;
  }[];
}
