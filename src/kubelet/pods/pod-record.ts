import type { MessageInitShape } from '@bufbuild/protobuf';
import type { PodSandboxConfigSchema } from '../../api/cri/index.ts';
import type { Pod, PodStatus } from '../../api/index.ts';
import type { Timer } from '../../async/index.ts';
import type { PresentImage } from '../images/image-puller.ts';

/**
 * Where a pod is in its life here:
 *
 * ```
 *   syncing ──(deleted, rejected, evicted, finished)──► terminating ──(nothing runs)──► terminated
 * ```
 * Never back. A terminated pod stays known until its source has dropped it.
 */
export type PodPhase = 'syncing' | 'terminating' | 'terminated';

/** Why a pod ends other than by its own containers or its deletion: becomes the status' phase Failed. */
export interface PodFailure {
  reason: string;
  message: string;
  /** The node ends the pod in favour of others or of itself: the message of the condition DisruptionTarget. */
  disruption?: string;
}

/** What is made once before a pod's containers start. */
export interface PreparedPod {
  /** Volume name → path on the host. */
  volumes: Map<string, string>;
  cgroupParent: string;
  /** Directory of the pod's logs. */
  logDirectory: string;
}

/** Everything that the kubelet holds about one pod. What matters after a restart is also in the API or the runtime. */
export interface PodRecord {
  /** The pod as it is to run: with the resources that it was granted. */
  pod: Pod;
  /** The pod as its source wants it. */
  desired: Pod;
  /** Of a static pod: its picture in the API, when there is one. */
  mirror?: Pod;
  /** The source does not list it any more. */
  gone: boolean;
  phase: PodPhase;
  failure?: PodFailure;
  /** Overrides the pod's own grace period, seconds. */
  graceSeconds?: number;
  admitted: boolean;
  /** What has to happen before an admitted pod may start: the end of those that make room for it. */
  waitsFor?: Promise<unknown>;
  /** Called when nothing of the pod runs any more. */
  onEnded: (() => void)[];
  /** What a kubelet before us had noted has been taken over. */
  restored: boolean;
  /** By when the containers of a pod that ends are killed, on the monotonic clock. */
  killAt?: number;
  /** Ids of containers whose preStop hook has ended. */
  hooksDone: Set<string>;
  /** When the pod became active, on the monotonic clock: what its activeDeadlineSeconds count from. */
  activeSince?: number;
  /** Goes off when that time is over. */
  deadline?: Timer;
  /** A call that makes something was broken off: the runtime may have more of the pod than is known. */
  unsure: boolean;
  /** Crash delays of containers that were removed to restart all of them, by name, milliseconds. */
  crashDelays: Map<string, number>;
  /** When this kubelet took it on, milliseconds since 1970. */
  startedAt: number;
  /** Why containers wait, by name. */
  waiting: Map<string, { reason: string; message: string }>;
  /** When what failed may be tried again, on the monotonic clock; `sandbox`, `volumes`, or a container's name. */
  retryAt: Map<string, number>;
  prepared?: PreparedPod;
  preparing?: Promise<PreparedPod>;
  preparingBase?: Promise<Omit<PreparedPod, 'volumes'>>;
  sandboxConfig?: MessageInitShape<typeof PodSandboxConfigSchema>;
  /** Images that are looked for while the sandbox is being made; taken once. */
  images: Map<string, Promise<PresentImage>>;
  /** Ids of containers whose postStart hook has not ended. */
  inPostStart: Set<string>;
  /** Ids of containers that are being stopped. */
  stopping: Set<string>;
  /** Ids of sandboxes whose loss has been told. */
  toldSandboxes: Set<string>;
  /** The pod's status as last computed. */
  status?: PodStatus;
  /** Ends what runs for the pod now: a new grace period, a deletion, the kubelet's end. */
  abort: AbortController;
  /** Set when Ready was first written, for the timeline. */
  toldReady: boolean;
}

/** A new record. `now` is milliseconds since 1970. */
export function createRecord(pod: Pod, now: number, desired = pod): PodRecord {
  return {
    pod,
    desired,
    gone: false,
    phase: 'syncing',
    admitted: false,
    onEnded: [],
    restored: false,
    hooksDone: new Set(),
    unsure: false,
    crashDelays: new Map(),
    startedAt: now,
    waiting: new Map(),
    retryAt: new Map(),
    images: new Map(),
    inPostStart: new Set(),
    stopping: new Set(),
    toldSandboxes: new Set(),
    abort: new AbortController(),
    toldReady: false,
    ...(pod.status ? { status: pod.status } : {}),
  };
}
