import { type Node, type Pod, type PodCondition, resources } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import { type ApiClient, type EventRecorder, isConflict, isNotFound } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';
import { ClusterState } from './cluster-state.ts';
import { type Decision, decide } from './decide.ts';
import { type PodInfo, podInfoOf, podRequests } from './pod-info.ts';
import { hasClaims, SchedulingQueue } from './scheduling-queue.ts';
import type { VolumeStep } from './storage-objects.ts';
import type { VolumeBinding } from './volume-binding.ts';
import type { VolumeState } from './volume-state.ts';

/** What a {@link Scheduler} works with. */
export interface SchedulerParts {
  client: ApiClient;
  schedulerName: string;
  /** Bindings under way at once. */
  concurrency: number;
  recorder: EventRecorder;
  /** Begins to watch what storage is made of; called before the first pod that has a claim. */
  openStorage(): Promise<{ state: VolumeState; binding: VolumeBinding }>;
  log: Logger;
  clock: Clock;
}

/** Pods decided in one turn of the loop before others get theirs. */
const podsPerTurn = 16;

/**
 * Gives pods their nodes. Deciding is synchronous and one pod at a time, against a picture of the cluster in which
 * every decision counts at once; telling the API server happens beside it.
 */
export class Scheduler {
  readonly cluster = new ClusterState();
  readonly #parts: SchedulerParts;
  readonly #queue: SchedulingQueue;
  readonly #writes = new Set<Promise<void>>();
  #volumeBinding: VolumeBinding | undefined;
  #storage: Promise<void> | undefined;
  /** Pods that wait for their volumes, by uid. */
  readonly #volumeWaits = new Map<string, AbortController>();
  #started = false;
  #stopped = false;
  #pumping = false;
  #turn = 0;

  constructor(parts: SchedulerParts) {
    this.#parts = parts;
    this.#queue = new SchedulingQueue(parts.clock, () => this.#wake());
  }

  /** Begins to decide; call when the pictures of nodes and pods are complete. */
  start(): void {
    this.#started = true;
    this.#wake();
  }
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#queue.stop();
    for (const abort of this.#volumeWaits.values()) abort.abort(new Error('the scheduler stops'));
    await Promise.all(this.#writes);
    await this.#parts.recorder.flush();
  }

  /** Takes over a change of a pod. */
  onPod(now: Pod | undefined, before: Pod | undefined): void {
    const gone = before && before.metadata.uid !== now?.metadata.uid ? before : undefined;
    if (gone) this.#forgetPod(gone);
    if (!now) return;
    const { uid } = now.metadata;
    if (now.spec.nodeName) {
      const had = this.cluster.has(uid);
      this.cluster.setPod(now);
      this.#queue.remove(keyOf(now));
      if (had && !this.cluster.has(uid)) this.#queue.notice('podGone');
      else if (before && hasShrunk(now, before)) this.#queue.notice('podGone');
      else if (!had || labelsChanged(now, before)) this.#queue.notice('podPlaced');
      return;
    }
    if (this.cluster.has(uid)) return;
    if (!this.#isOurs(now)) return this.#queue.remove(keyOf(now));
    if ((now.spec.schedulingGates ?? []).length > 0) {
      this.#queue.remove(keyOf(now));
      this.#tellGated(now);
      return;
    }
    if (before && this.#queue.has(keyOf(now)) && !matters(now, before)) return;
    const info = podInfoOf(now);
    if (now.status?.nominatedNodeName) this.cluster.nominate(info, now.status.nominatedNodeName);
    this.#queue.add(info);
  }

  /** Takes over a change of a node. */
  onNode(name: string, now: Node | undefined, before: Node | undefined): void {
    this.cluster.setNode(name, now);
    if (!now || !before || nodeMatters(now, before)) this.#queue.notice('node');
  }

  /** Takes over that something about claims, volumes or their classes has changed. */
  onStorage(): void {
    this.#volumeBinding?.notice();
    this.#queue.notice('storage');
  }

  #forgetPod(pod: Pod): void {
    this.#volumeWaits.get(pod.metadata.uid)?.abort(new Error('the pod has gone'));
    this.#queue.remove(keyOf(pod));
    const had = this.cluster.has(pod.metadata.uid);
    this.cluster.removePod(pod.metadata.uid);
    if (had || pod.spec.nodeName || pod.status?.nominatedNodeName) this.#queue.notice('podGone');
  }
  #isOurs(pod: Pod): boolean {
    const finished = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
    const name = pod.spec.schedulerName || 'default-scheduler';
    return !pod.metadata.deletionTimestamp && !finished && name === this.#parts.schedulerName;
  }

  #wake(): void {
    if (!this.#started || this.#stopped || this.#pumping) return;
    this.#pumping = true;
    queueMicrotask(() => this.#pump());
  }
  #pump(): void {
    for (let i = 0; i < podsPerTurn; i++) {
      const info = this.#writes.size < this.#parts.concurrency ? this.#queue.take() : undefined;
      if (!info || this.#stopped) {
        this.#pumping = false;
        return;
      }
      this.#schedule(info);
    }
    setImmediate(() => this.#pump());
  }
  #schedule(info: PodInfo): void {
    if (hasClaims(info) && !this.cluster.volumes) {
      void this.#openStorage().then(() => this.#stopped || this.#queue.add(info));
      return;
    }
    const seen = this.#queue.changes;
    let decision: Decision;
    try {
      decision = decide(info, this.cluster, this.#turn++);
    } catch (error) {
      this.#parts.log.error('pod cannot be scheduled', { pod: info.key, error });
      this.#queue.refuse(info, true, seen);
      return;
    }
    if (decision.kind === 'place') {
      const { node } = decision;
      const steps = this.cluster.volumes?.assume(info, this.cluster.nodes.get(node)!) ?? [];
      this.cluster.assume(info, node);
      if (steps.length > 0) void this.#bindVolumes(info, node, steps);
      else this.#write(this.#bind(info, node));
    } else {
      this.#queue.refuse(info, decision.aboutPods, seen);
      this.#write(this.#tellRefused(info, decision));
    }
  }
  #openStorage(): Promise<void> {
    this.#storage ??= this.#parts.openStorage().then(({ state, binding }) => {
      this.cluster.volumes = state;
      this.#volumeBinding = binding;
    });
    return this.#storage;
  }
  #write(promise: Promise<void>): void {
    this.#writes.add(promise);
    void promise.finally(() => {
      this.#writes.delete(promise);
      this.#wake();
    });
  }

  /** Volumes first. While they are being made the pod keeps its place, but takes no turn from others. */
  async #bindVolumes(info: PodInfo, node: string, steps: readonly VolumeStep[]): Promise<void> {
    const abort = new AbortController();
    this.#volumeWaits.set(info.uid, abort);
    try {
      const writing = this.#volumeBinding!.write(steps);
      this.#write(writing.catch(() => {}));
      await writing;
      await this.#volumeBinding!.bound(info, node, abort.signal);
      this.#write(this.#bind(info, node));
    } catch (error) {
      this.cluster.forget(info.uid);
      if (abort.signal.aborted || this.#stopped) return;
      const text = `running PreBind plugin "VolumeBinding": ${(error as Error).message}`;
      if (!isConflict(error)) this.#parts.recorder.event(info.pod, 'Warning', 'FailedScheduling', text);
      this.#queue.retry(info);
    } finally {
      this.#volumeWaits.delete(info.uid);
      this.cluster.volumes?.settle(info.uid);
    }
  }

  async #bind(info: PodInfo, node: string): Promise<void> {
    const { namespace = '', name, uid } = info.pod.metadata;
    try {
      await this.#parts.client.create(
        resources.pods,
        { kind: 'Binding', metadata: { name, namespace, uid }, target: { kind: 'Node', name: node } } as never,
        { namespace, name, subresource: 'binding' },
      );
      this.#parts.recorder.event(info.pod, 'Normal', 'Scheduled', `Successfully assigned ${info.key} to ${node}`);
    } catch (error) {
      this.cluster.forget(info.uid);
      // Someone else bound or deleted it: the watch tells.
      if (isNotFound(error) || isConflict(error) || this.#stopped) return;
      this.#parts.log.warn('binding failed', { pod: info.key, node, error });
      this.#parts.recorder.event(
        info.pod,
        'Warning',
        'FailedScheduling',
        `binding rejected: ${(error as Error).message}`,
      );
      this.#queue.retry(info);
    }
  }

  async #tellRefused(info: PodInfo, decision: Extract<Decision, { kind: 'refuse' }>): Promise<void> {
    const { message, preemption } = decision;
    try {
      this.#parts.recorder.event(info.pod, 'Warning', 'FailedScheduling', message);
      if (preemption.kind === 'victims') this.cluster.nominate(info, preemption.node);
      const nominated = preemption.kind === 'victims' ? preemption.node : undefined;
      await this.#setCondition(info.pod, { reason: 'Unschedulable', message }, nominated);
      if (preemption.kind === 'victims') {
        await Promise.all(preemption.victims.map((victim) => this.#preempt(victim, info, preemption.node)));
      }
    } catch (error) {
      if (!isNotFound(error)) this.#parts.log.warn('refusal not told', { pod: info.key, error });
    }
  }
  #tellGated(pod: Pod): void {
    const message = 'Scheduling is blocked due to non-empty scheduling gates';
    this.#write(this.#setCondition(pod, { reason: 'SchedulingGated', message }).catch(() => {}));
  }
  async #setCondition(pod: Pod, says: { reason: string; message: string }, nominatedNodeName?: string): Promise<void> {
    const before = pod.status?.conditions?.find(({ type }) => type === 'PodScheduled');
    const same = before?.status === 'False' && before.reason === says.reason && before.message === says.message;
    if (same && (!nominatedNodeName || pod.status?.nominatedNodeName === nominatedNodeName)) return;
    const now = new Date(this.#parts.clock.now()).toISOString().replace(/\.\d+Z$/, 'Z');
    const condition: PodCondition = {
      type: 'PodScheduled',
      status: 'False',
      ...says,
      lastTransitionTime: before?.status === 'False' && before.lastTransitionTime ? before.lastTransitionTime : now,
    };
    const status = { conditions: [condition], ...(nominatedNodeName ? { nominatedNodeName } : {}) };
    const { namespace = '', name, uid } = pod.metadata;
    const patch = { metadata: { uid }, status };
    await this.#parts.client.patch(resources.pods, name, patch, {
      namespace,
      type: 'strategic',
      subresource: 'status',
    });
  }
  async #preempt(victim: PodInfo, by: PodInfo, node: string): Promise<void> {
    const { namespace = '', name, uid } = victim.pod.metadata;
    if (victim.pod.metadata.deletionTimestamp) return;
    const { client, recorder, schedulerName, clock } = this.#parts;
    const message = `${schedulerName}: preempting to accommodate a higher priority pod`;
    const lastTransitionTime = new Date(clock.now()).toISOString().replace(/\.\d+Z$/, 'Z');
    const condition = {
      type: 'DisruptionTarget',
      status: 'True',
      reason: 'PreemptionByScheduler',
      message,
      lastTransitionTime,
    };
    const patch = { metadata: { uid }, status: { conditions: [condition] } };
    try {
      await client.patch(resources.pods, name, patch, { namespace, type: 'strategic', subresource: 'status' });
      await client.delete(resources.pods, name, { namespace, uid });
      recorder.event(victim.pod, 'Normal', 'Preempted', `Preempted by pod ${by.uid} on node ${node}`);
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  }
}

function keyOf({ metadata }: Pod): string {
  return `${metadata.namespace}/${metadata.name}`;
}

function labelsChanged(now: Pod, before: Pod | undefined): boolean {
  return JSON.stringify(now.metadata.labels) !== JSON.stringify(before?.metadata.labels);
}

/** Whether a pod asks for less than it did: a resize has made room. */
function hasShrunk(now: Pod, before: Pod): boolean {
  if (now.spec === before.spec && now.status === before.status) return false;
  const [requests, earlier] = [podRequests(now), podRequests(before)];
  return Object.entries(earlier).some(([name, amount]) => (requests[name] ?? 0) < amount);
}

/** Whether a pod that waits has changed in a way that may help it: its own status does not. */
function matters(now: Pod, before: Pod): boolean {
  return JSON.stringify(now.spec) !== JSON.stringify(before.spec) || labelsChanged(now, before);
}

/** Whether a node has changed in a way that may let pods in: heartbeats do not. */
function nodeMatters(now: Node, before: Node): boolean {
  const view = ({ metadata, spec, status }: Node) => JSON.stringify([metadata.labels, spec, status?.allocatable]);
  return view(now) !== view(before);
}
