import type { Pod, PodStatus } from '../../api/index.ts';
import type { ProbeResults } from '../pods/kit.ts';
import type { RuntimePod } from '../pods/runtime-state.ts';
import type { PodResources } from '../resources/pod-resources.ts';
import type { ResizeConditions } from '../resources/resizes.ts';

/** What a pod's status is computed from. */
export interface StatusInput {
  pod: Pod;
  runtime: RuntimePod;
  /** The status as last computed, or as the API had it. */
  previous?: PodStatus;
  /** Why containers wait, by name. */
  waiting: ReadonlyMap<string, { reason: string; message: string }>;
  inPostStart: ReadonlySet<string>;
  probes: Pick<ProbeResults, 'startup' | 'readiness'>;
  /** How a resize of the pod stands. */
  resize?: ResizeConditions | undefined;
  /** The resources that are in force. */
  actuated?: PodResources | undefined;
  /** No container runs any more and none will. */
  ended: boolean;
  /** The end was not the containers' own doing: makes the phase Failed. */
  failure?: { reason: string; message: string; disruption?: string };
  /** All containers are being taken away to be started anew. Computed here, as are the next two. */
  restartingAll?: boolean;
  /** Those that asked for it are still there. */
  hasRestartCauses?: boolean;
  /** An app container exists: init containers are done. */
  appsCreated?: boolean;
  /** As in `containerd://…`. */
  runtimeName: string;
  hostIps: string[];
  /** Milliseconds since 1970. */
  startedAt: number;
  now: number;
}
