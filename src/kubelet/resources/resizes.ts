import { join } from 'node:path';
import type { Container, Node, Pod, ResourceRequirements } from '../../api/index.ts';
import type { Clock, Timer } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import type { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import { qosClass } from '../pods/container-resources.ts';
import { parseTime } from '../pods/names.ts';
import type { PodEvents } from '../pods/pod-events.ts';
import type { PodRecord } from '../pods/pod-record.ts';
import { podRequests } from './pod-requests.ts';
import {
  differingResources,
  effectiveLimits,
  type PodResources,
  resourcesOf,
  sameResources,
  withResources,
} from './pod-resources.ts';
import { requestedResizes } from './requested-resizes.ts';
import { type ResizePolicies, refusedResize } from './resize-decision.ts';
import { resizeMessage } from './resize-message.ts';
import { ResourceState } from './resource-state.ts';

/** A condition of a pod that is being resized. Times are milliseconds since 1970. */
export interface ResizeCondition {
  reason?: string;
  message?: string;
  generation: number | undefined;
  since: number;
}

/** What the status says of a resize. */
export interface ResizeConditions {
  /** It cannot be granted, now (Deferred) or ever (Infeasible). */
  pending?: ResizeCondition;
  /** It is granted and not in force yet. */
  inProgress?: ResizeCondition;
}

/** What resizes need. */
export interface ResizesOptions {
  rootDirectory: string;
  node(): Node | undefined;
  maxPods: number;
  policies: ResizePolicies;
  records(): PodRecord[];
  /** Whether all pods of the node are known. */
  ready(): boolean;
  /** The pod has to be looked at: it has other resources, or another condition. */
  changed(podUid: string): void;
  events: PodEvents;
  metrics: KubeletMetrics;
  log: Logger;
  clock: Clock;
}

/** What makes the pending resizes be looked at again, by upstream's names. */
export type ResizeTrigger = 'pod_updated' | 'pods_added' | 'pods_removed' | 'pod_resized' | 'periodic_retry';

/** Resizes that wait are looked at this often though nothing has happened, milliseconds. */
const retryMs = 180_000;
/** While not all pods are known, room cannot be judged. */
const notReadyMs = 500;

/**
 * Keeps three views of each pod's resources apart: wanted (the spec), allocated (what this node has granted) and actuated
 * (what runtime and cgroups were told). The last two survive a restart in files.
 *
 * A pod that wants something else waits in a queue; each change that may make room has the whole queue looked at, those
 * that shrink first, then by priority and class, then those that wait longest.
 */
export class Resizes {
  readonly #options: ResizesOptions;
  readonly #allocated: ResourceState;
  readonly #actuated: ResourceState;
  readonly #conditions = new Map<string, ResizeConditions>();
  readonly #waiting = new Set<string>();
  #timer: Timer | undefined;

  constructor(options: ResizesOptions) {
    this.#options = options;
    const file = (name: string) => new ResourceState(join(options.rootDirectory, name), options.log);
    this.#allocated = file('allocated_pods_state');
    this.#actuated = file('actuated_pods_state');
  }

  /** The pod with the resources that it was granted; as it is before that. */
  allocated(pod: Pod): Pod {
    const known = this.#allocated.get(pod.metadata.uid);
    return known && !sameResources(known, resourcesOf(pod)) ? withResources(pod, known) : pod;
  }

  /** The node has taken the pod: what it runs with is granted. */
  admitted(record: PodRecord): void {
    const { uid } = record.pod.metadata;
    if (!this.#allocated.get(uid)) this.#allocated.set(uid, resourcesOf(record.pod));
    this.#backfill(record.desired);
    if (this.#wants(record)) this.#push(uid);
    if (this.#waiting.size > 0) this.retry('pods_added');
  }

  /** An admitted pod has changed; `before` is what it wanted until now. */
  updated(record: PodRecord, before: Pod): void {
    const { uid } = record.pod.metadata;
    for (const labels of requestedResizes(before, record.desired))
      this.#options.metrics.count('kubelet_container_requested_resizes_total', labels);
    if (this.#wants(record)) {
      this.#push(uid);
      this.retry('pod_updated');
    } else if (this.#waiting.delete(uid) || this.#conditions.get(uid)?.pending) {
      // It wants again what it has.
      this.#set(uid, 'pending', undefined);
      this.#options.changed(uid);
    }
  }

  /** Nothing of the pod is left on the node. */
  forget(podUid: string): void {
    this.#allocated.remove(podUid);
    this.#actuated.remove(podUid);
    this.#conditions.delete(podUid);
    this.#waiting.delete(podUid);
    this.#count();
  }

  /** Something of the pod has ended: there may be room. */
  ended(podUid: string): void {
    this.#waiting.delete(podUid);
    if (this.#waiting.size > 0) this.retry('pods_removed');
  }

  /** Forgets pods that are not there any more; only right once all are known. */
  collect(known: { has(podUid: string): boolean }): void {
    this.#allocated.keepOnly(known);
    this.#actuated.keepOnly(known);
  }

  conditions(podUid: string): ResizeConditions {
    return this.#conditions.get(podUid) ?? {};
  }

  /** What runtime and cgroups were told; undefined when nothing is known. */
  actuated(podUid: string): PodResources | undefined {
    return this.#actuated.get(podUid);
  }

  /** A container was made with these resources. */
  made({ metadata: { uid }, spec }: Pod, { name, resources = {} }: Container): void {
    if (spec.ephemeralContainers?.some((one) => one.name === name)) return;
    const known = this.#actuated.get(uid);
    // What the pod as a whole has is in force since its cgroup was made.
    const whole = known ? known.pod : spec.resources;
    const containers = { ...known?.containers, [name]: resources };
    this.#actuated.set(uid, { ...(whole ? { pod: whole } : {}), containers });
  }

  /** The runtime was told new resources of a container. */
  actuatedContainer(podUid: string, name: string, resources: ResourceRequirements): void {
    this.#actuated.setContainer(podUid, name, resources);
  }

  /** The cgroup of the pod was given new resources. */
  actuatedPod(podUid: string, resources: ResourceRequirements | undefined): void {
    this.#actuated.setPod(podUid, resources);
  }

  /** What of a container differs between what is granted and what is in force. */
  open(pod: Pod, container: string): ReturnType<typeof differingResources> {
    const granted = resourcesOf(pod);
    const inForce = this.#actuated.get(pod.metadata.uid);
    const both = (one: PodResources | undefined) => effectiveLimits(one?.pod, one?.containers[container]);
    return differingResources(both(granted), both(inForce));
  }

  /** What of the pod as a whole differs. */
  openOfPod(pod: Pod): ReturnType<typeof differingResources> {
    const inForce = this.#actuated.get(pod.metadata.uid);
    return inForce ? differingResources(resourcesOf(pod).pod, inForce.pod) : [];
  }

  /** The resize could not be put into force. Tells it once. */
  failed(pod: Pod, message: string): void {
    const { uid, generation } = pod.metadata;
    const before = this.conditions(uid).inProgress;
    if (before?.reason === 'Error' && before.message === message) return;
    const kept = before?.generation ?? generation;
    this.#set(uid, 'inProgress', { reason: 'Error', message, generation: kept });
    this.#options.events.warning(pod, 'ResizeError', resizeMessage('Pod resize error', pod, kept, message));
  }

  /** Everything that was granted is in force; true when that is news. */
  completed(pod: Pod): boolean {
    const { uid } = pod.metadata;
    const before = this.conditions(uid).inProgress;
    if (!before) return false;
    this.#set(uid, 'inProgress', undefined);
    this.#options.events.normal(pod, 'ResizeCompleted', resizeMessage('Pod resize completed', pod, before.generation));
    if (this.#waiting.size > 0) this.retry('pod_resized');
    return true;
  }

  /** Resolves when what was granted and told is on disk. */
  async saved(): Promise<void> {
    await Promise.all([this.#allocated.save(), this.#actuated.save()]);
  }

  /** Looks at all resizes that wait. */
  retry(trigger: ResizeTrigger): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#waiting.size === 0) return;
    const { clock, ready } = this.#options;
    const isReady = ready();
    if (isReady) for (const record of this.#queue()) this.#consider(record, trigger);
    if (this.#waiting.size === 0) return;
    this.#timer = clock.after(isReady ? retryMs : notReadyMs, () => this.retry(isReady ? 'periodic_retry' : trigger));
  }

  stop(): void {
    this.#timer?.cancel();
    this.#waiting.clear();
  }

  #wants({ desired, pod }: PodRecord): boolean {
    return !sameResources(this.#allocated.get(pod.metadata.uid) ?? resourcesOf(pod), resourcesOf(desired));
  }

  #push(podUid: string): void {
    this.#waiting.add(podUid);
  }

  /** Those that wait, in their order; what has ended meanwhile is dropped. */
  #queue(): PodRecord[] {
    const records = this.#options.records().filter((record) => {
      return this.#waiting.has(record.pod.metadata.uid) && record.phase === 'syncing' && record.admitted;
    });
    const rank = (record: PodRecord): number[] => [
      isGrowing(record) ? 1 : 0,
      -(record.pod.spec.priority ?? 0),
      qosClass(record.pod) === 'Guaranteed' ? 0 : 1,
      this.conditions(record.pod.metadata.uid).pending?.since ?? Number.POSITIVE_INFINITY,
    ];
    return records.sort((a, b) => compareRanks(rank(a), rank(b)));
  }

  #consider(record: PodRecord, trigger: ResizeTrigger): void {
    const { events, metrics, changed } = this.#options;
    const { desired } = record;
    const { uid, generation } = desired.metadata;
    const wasDeferred = this.conditions(uid).pending?.reason === 'Deferred';
    const refused = refusedResize(desired, record.pod, this.#others(record), this.#options);
    if (!refused) {
      this.#waiting.delete(uid);
      this.#allocated.set(uid, resourcesOf(desired));
      record.pod = this.allocated(desired);
      this.#set(uid, 'pending', undefined);
      this.#set(uid, 'inProgress', undefined);
      this.#set(uid, 'inProgress', { generation });
      events.normal(desired, 'ResizeStarted', resizeMessage('Pod resize started', desired, generation));
      if (wasDeferred) metrics.count('kubelet_pod_deferred_accepted_resizes_total', { retry_trigger: trigger });
      return changed(uid);
    }
    const { reason, message, cause } = refused;
    if (reason === 'Infeasible') {
      this.#waiting.delete(uid);
      metrics.count('kubelet_pod_infeasible_resizes_total', { reason_detail: cause });
    }
    const before = this.conditions(uid).pending;
    const told = before?.reason === reason && before.generation === generation;
    this.#set(uid, 'pending', { reason, message, generation });
    if (!told) {
      const text = resizeMessage(`Pod resize ${reason}`, desired, generation, message);
      events.warning(desired, reason === 'Infeasible' ? 'ResizeInfeasible' : 'ResizeDeferred', text);
    }
    if (!told || before?.message !== message) changed(uid);
  }

  #others(except: PodRecord): Pod[] {
    return this.#options
      .records()
      .filter((record) => record !== except && record.admitted && record.phase !== 'terminated')
      .map(({ pod }) => pod);
  }

  #set(uid: string, kind: keyof ResizeConditions, condition: Omit<ResizeCondition, 'since'> | undefined): void {
    const { [kind]: before, ...rest } = this.conditions(uid);
    const since = before && before.reason === condition?.reason ? before.since : this.#options.clock.now();
    const next: ResizeConditions = condition ? { ...rest, [kind]: { ...condition, since } } : rest;
    if (Object.keys(next).length > 0) this.#conditions.set(uid, next);
    else this.#conditions.delete(uid);
    this.#count();
  }

  /** After a restart: what the API says of resizes goes on. */
  #backfill({ metadata: { uid }, status }: Pod): void {
    if (this.#conditions.has(uid)) return;
    const of = (type: string): ResizeCondition | undefined => {
      const found = status?.conditions?.find((one) => one.type === type && one.status === 'True');
      if (!found) return undefined;
      const { reason, message, observedGeneration, lastTransitionTime } = found;
      const since = parseTime(lastTransitionTime) ?? this.#options.clock.now();
      return { ...(reason ? { reason } : {}), ...(message ? { message } : {}), generation: observedGeneration, since };
    };
    const [pending, inProgress] = [of('PodResizePending'), of('PodResizeInProgress')];
    if (pending || inProgress)
      this.#conditions.set(uid, { ...(pending ? { pending } : {}), ...(inProgress ? { inProgress } : {}) });
  }

  #count(): void {
    const all = [...this.#conditions.values()];
    const { metrics } = this.#options;
    metrics.set('kubelet_pod_in_progress_resizes', all.filter(({ inProgress }) => inProgress).length);
    for (const reason of ['Deferred', 'Infeasible'])
      metrics.set('kubelet_pod_pending_resizes', all.filter(({ pending }) => pending?.reason === reason).length, {
        reason: reason.toLowerCase(),
      });
  }
}

/** Whether a resize asks for more. */
function isGrowing({ pod, desired }: PodRecord): boolean {
  const [before, after] = [podRequests(pod), podRequests(desired)];
  return ['cpu', 'memory'].some((name) => (after.get(name) ?? 0) > (before.get(name) ?? 0));
}

function compareRanks(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((rank, index) => rank !== b[index]);
  return at < 0 ? 0 : a[at]! - b[at]!;
}
