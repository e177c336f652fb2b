import type { Cri } from './cri.ts';

/** What not every runtime or kernel offers; see features.ts for how each is found out. */
export type Feature =
  | 'checkpoint'
  | 'sandbox-resources'
  | 'events'
  | 'event-replay'
  | 'metrics'
  | 'pod-stats'
  | 'stream-lists'
  | 'runtime-config'
  | 'supplemental-groups-policy'
  | 'user-namespaces'
  | 'recursive-read-only'
  | 'image-volumes'
  | 'image-id'
  | 'apparmor'
  | 'no-apparmor'
  | 'selinux'
  | 'no-selinux'
  | 'cgroup-v1'
  | 'cgroup-v2'
  | 'cpuset'
  | 'hugepages'
  | 'swap'
  | 'seccomp'
  | 'named-registry'
  | 'deckhand';

/** One thing that a runtime does, and how to see that it does. */
export interface Behaviour {
  /** A sentence. */
  name: string;
  needs?: readonly Feature[];
  /** Nothing else may go on meanwhile: it looks at, or changes, what all share. */
  alone?: true;
  run(cri: Cri): Promise<void>;
}

/** A topic: behaviours under a common head. */
export type Topic = readonly [topic: string, behaviours: readonly Behaviour[]];

/** How a behaviour was found. */
export interface Outcome {
  topic: string;
  name: string;
  state: 'passed' | 'failed' | 'skipped';
  milliseconds: number;
  /** Why it failed or was skipped. */
  reason?: string;
}
