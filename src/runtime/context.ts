import type { ContainerConfig, PodSandboxConfig } from '../api/cri/index.ts';
import type { Clock, SerialRunner } from '../async/index.ts';
import type { CgroupTree } from '../host/cgroups/index.ts';
import type { Logger } from '../log/index.ts';
import type { CallLog, Flights } from './calls/index.ts';
import type { ContainerExit } from './containers/exits.ts';
import type { OciRuntime } from './containers/oci-runtime.ts';
import type { StatePaths } from './containers/paths.ts';
import type { EventHub } from './events/event-hub.ts';
import type { ImageStore } from './images/index.ts';
import type { BridgeNetwork } from './network/bridge/bridge-network.ts';
import type { PodNetwork } from './network/pod-network.ts';
import type { ResolvedSettings } from './settings/index.ts';
import type { Snapshots } from './snapshots/index.ts';
import type { Store } from './store/store.ts';
import type { StreamingServer } from './streaming/streaming-server.ts';

/** What this machine lets us do, found out once. */
export interface Kernel {
  apparmor: boolean;
  selinux: boolean;
  /** Capabilities that can be given to containers. */
  capabilities: ReadonlySet<string>;
  /** Whether oom_score_adj may go below our own. */
  mayLowerOomScore: boolean;
  ownOomScoreAdj: number;
}

/** Everything that the calls of the CRI work with. */
export interface RuntimeContext {
  settings: ResolvedSettings;
  log: Logger;
  clock: Clock;
  paths: StatePaths;
  store: Store;
  images: ImageStore;
  rootfs: Snapshots;
  network: PodNetwork;
  /** The built-in bridge, whether or not it makes the pod network now. */
  bridge: BridgeNetwork;
  cgroups: CgroupTree;
  ociRuntimes: ReadonlyMap<string, OciRuntime>;
  events: EventHub;
  streaming: StreamingServer;
  kernel: Kernel;
  /** One change at a time per sandbox and per container. */
  serial: SerialRunner;
  /** What goes on, and for how long. */
  calls: CallLog;
  /** What is being made: a second caller joins the first. */
  flights: {
    sandboxes: Flights<{ config: PodSandboxConfig; handler: string }>;
    containers: Flights<ContainerConfig>;
  };
  /** Resolvers of those who wait for a container to end. */
  exitWaiters: Map<string, Set<() => void>>;
  readExit(id: string): Promise<ContainerExit | undefined>;
  forgetExit(id: string): Promise<void>;
}

/** The OCI runtime of a handler; an empty name means the default. */
export function ociRuntimeOf(context: RuntimeContext, handler: string): OciRuntime | undefined {
  return handler === '' ? [...context.ociRuntimes.values()][0] : context.ociRuntimes.get(handler);
}

/**
 * What the calls need that only read records, events and measurements: they are the same whatever runs the containers.
 */
export interface RecordContext
  extends Pick<
    RuntimeContext,
    'log' | 'clock' | 'store' | 'events' | 'streaming' | 'serial' | 'bridge' | 'cgroups' | 'kernel'
  > {
  /** What a container's writable layer takes. */
  rootfs: Pick<Snapshots, 'usage'>;
  settings: Pick<ResolvedSettings, 'root' | 'streamingSetupTimeoutMs' | 'streamingIdleTimeoutMs'>;
}
