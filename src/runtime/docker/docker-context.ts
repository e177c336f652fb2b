import type { RuntimeContext } from '../context.ts';
import type { Engine } from './engine/index.ts';
import type { EngineImages } from './images/engine-images.ts';
import type { LogFollowers } from './logs/log-followers.ts';
import type { DiskUsage } from './stats/disk-usage.ts';

/** How the adapter is set up. Paths are absolute. */
export interface DockerSettings {
  /** The unix socket of the CRI. */
  listen: string;
  /** The engine's: `unix:///run/docker.sock`. */
  docker: string;
  /** What must survive a restart of the adapter: records of sandboxes and containers. */
  root: string;
  /** What belongs to this boot: network namespaces. */
  state: string;
  version: string;
  streamingAddress: string;
  streamingPort: number;
  streamingSetupTimeoutMs: number;
  streamingIdleTimeoutMs: number;
  podCidr?: string;
  bridgeName: string;
  mtu?: number;
  cniConfDir?: string;
  cniBinDirs: readonly string[];
  cniTimeoutMs: number;
  /** The image of the container that holds a sandbox's namespaces. Default: one of our own, loaded when it is needed. */
  sandboxImage?: string;
}

/** What the calls of the CRI work with when a Docker Engine does the work. */
export interface DockerContext
  extends Pick<
    RuntimeContext,
    | 'log'
    | 'clock'
    | 'store'
    | 'network'
    | 'bridge'
    | 'cgroups'
    | 'events'
    | 'streaming'
    | 'kernel'
    | 'serial'
    | 'calls'
    | 'flights'
  > {
  settings: DockerSettings;
  engine: Engine;
  images: EngineImages;
  logs: LogFollowers;
  /** What writable layers take. */
  rootfs: DiskUsage;
  /** Containers of which the engine has told that memory ran out, until their end is noted. */
  outOfMemory: Set<string>;
  /** Capabilities of the kernel that the engine has never heard of, as far as it has said so. */
  unknownCapabilities: Set<string>;
}

/** Labels by which our containers are told from others. */
export const labels = {
  kind: 'dev.deckhand.cri.kind',
  sandbox: 'dev.deckhand.cri.sandbox',
  /** Which adapter they belong to: its root directory. */
  owner: 'dev.deckhand.cri.root',
} as const;
