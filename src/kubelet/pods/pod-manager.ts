import type { Pod, PodStatus } from '../../api/index.ts';
import { KeyedQueue, unlessAborted } from '../../async/index.ts';
import type { ApiClient } from '../../client/index.ts';
import type { Admission } from '../admission/admission.ts';
import { describeError } from '../errors.ts';
import type { StatusWriter } from '../status/status-writer.ts';
import { computeStatus } from './compute-status.ts';
import { deleteFromApi } from './delete-from-api.ts';
import { graceLeftMs, restoreEnding } from './ending.ts';
import type { PodKit } from './kit.ts';
import { formatPod, fullName, isStaticPod, parseTime } from './names.ts';
import { isAlive, mustInterrupt, shouldEnd } from './pod-life.ts';
import { createRecord, type PodFailure, type PodRecord } from './pod-record.ts';
import { endInFavour } from './preempt.ts';
import type { RuntimeContainer } from './runtime-state.ts';
import { deadlineInMs, syncPod } from './sync-pod.ts';
import { releasePod, removePod, terminatePod } from './terminate-pod.ts';

/** What the manager needs besides the kit. */
export interface PodManagerOptions {
  kit: Omit<PodKit, 'publish'>;
  client: ApiClient | undefined;
  status: StatusWriter;
  admission: Admission;
  /** Adds to a pod's status how its devices are. */
  withHealth?: (podUid: string, status: PodStatus) => PodStatus;
  /** As in container ids: `containerd`. */
  runtimeName(): string;
  /** Told when a container has changed: ends log followers, wakes probes. */
  onContainer?: (podUid: string, container: RuntimeContainer | undefined) => unknown;
  /** Told when the runtime has something of a pod that is not known (yet). */
  onUnknown?: () => void;
  /** Told the full name of a pod of which nothing is left. */
  onForgotten?: (fullName: string) => void;
}

/** Why work on a pod was broken off: something about it has changed. */
class Interrupted extends Error {}

/** Runs the pods of a node: one worker for each, waked by whatever concerns it. */
export class PodManager {
  readonly #options: PodManagerOptions;
  readonly #kit: PodKit;
  readonly #records = new Map<string, PodRecord>();
  readonly #queue: KeyedQueue;

  constructor(options: PodManagerOptions) {
    this.#options = options;
    this.#kit = { ...options.kit, publish: (record) => this.#publish(record) };
    this.#queue = new KeyedQueue((uid) => this.#measured(uid), {
      concurrency: 10_000,
      clock: this.#kit.clock,
      retryInitialMs: 200,
      retryMaximumMs: 10_000,
      onError: (uid, error) => {
        const pod = this.#records.get(uid)?.pod;
        this.#kit.log.warn('cannot work on a pod', { pod: pod ? formatPod(pod) : uid, error });
      },
    });
  }

  /** The records of all pods, for those who look (status, server, admission). */
  records(): PodRecord[] {
    return [...this.#records.values()];
  }

  record(uid: string): PodRecord | undefined {
    return this.#records.get(uid);
  }

  /** A pod has appeared, or has changed. */
  upsert(desired: Pod, mirror?: Pod): void {
    const { resizes } = this.#kit;
    const uid = desired.metadata.uid!;
    const pod = resizes.allocated(desired);
    let record = this.#records.get(uid);
    if (!record) {
      record = createRecord(pod, parseTime(pod.status?.startTime) ?? this.#kit.clock.now(), desired);
      // What a kubelet before us had found of a static pod stands in its picture.
      if (mirror?.status) record.status = mirror.status;
      this.#records.set(uid, record);
      this.#kit.timelines.note(pod, 'seen');
    } else {
      const before = record.pod;
      record.pod = pod;
      const wanted = record.desired;
      record.desired = desired;
      if (record.admitted && record.phase === 'syncing') resizes.updated(record, wanted);
      if (mustInterrupt(before, pod)) this.#interrupt(record);
      if (before.spec.activeDeadlineSeconds !== pod.spec.activeDeadlineSeconds) this.#watchDeadline(record);
      if (before.metadata.resourceVersion !== pod.metadata.resourceVersion) this.#updateVolumes(pod);
    }
    if (mirror) record.mirror = mirror;
    this.#queue.add(uid);
  }

  /** The picture of a static pod in the API has come, changed or gone. */
  setMirror(uid: string, mirror: Pod | undefined): void {
    const record = this.#records.get(uid);
    if (!record) return;
    if (mirror) record.mirror = mirror;
    else delete record.mirror;
    this.#publish(record);
  }

  /** The pod's source does not have it any more: it ends, and then is forgotten. */
  remove(uid: string): void {
    const record = this.#records.get(uid);
    if (!record || record.gone) return;
    record.gone = true;
    if (record.phase === 'syncing') this.#interrupt(record);
    this.#options.status.forget(uid);
    this.#queue.add(uid);
  }

  /**
   * Ends a pod against its will: eviction, preemption. Resolves when nothing of it runs any more.
   * @param graceSeconds instead of the pod's own grace period
   */
  end(uid: string, failure: PodFailure, graceSeconds?: number): Promise<void> {
    const record = this.#records.get(uid);
    if (!record || record.phase === 'terminated') return Promise.resolve();
    const ended = new Promise<void>((resolve) => record.onEnded.push(resolve));
    if (record.phase === 'syncing') {
      record.failure ??= failure;
      if (graceSeconds !== undefined) record.graceSeconds = graceSeconds;
      this.#interrupt(record);
      this.#queue.add(uid);
    }
    return ended;
  }

  /** Ends pods so that a critical one has room, which then waits for their end. `resource` is what was short. */
  preempt(pod: Pod, victims: readonly Pod[], resource: string): void {
    const end = (uid: string, failure: PodFailure) => this.end(uid, failure);
    const ended = endInFavour(this.#kit, end, pod, victims, resource);
    const record = this.#records.get(pod.metadata.uid);
    if (record) record.waitsFor = ended;
  }

  /** Something that only its status shows has changed. */
  republish(uid: string): void {
    const record = this.#records.get(uid);
    if (record) this.#publish(record);
  }

  /** Something about the pod may ask for a plan: the runtime, a probe, time. */
  wake(uid: string): void {
    if (this.#records.has(uid)) this.#queue.add(uid);
  }

  /** The pod's resize stands differently: its status says so, and what was granted is put into force. */
  resized(uid: string): void {
    const record = this.#records.get(uid);
    if (!record) return;
    // What a downwardAPI volume says of resources follows them.
    if (record.prepared) this.#updateVolumes(record.pod);
    this.#publish(record);
    this.#queue.add(uid);
  }

  /** Takes over what has changed in the runtime. */
  runtimeChanged(uid: string, container?: RuntimeContainer): void {
    this.#options.onContainer?.(uid, container);
    const record = this.#records.get(uid);
    if (!record) return this.#options.onUnknown?.();
    this.#publish(record);
    this.#queue.add(uid);
  }

  /** Ends what the runtime has of pods that nobody knows. Only right once every source has told all its pods. */
  removeOrphans(): void {
    for (const uid of this.#kit.cache.podUids()) {
      if (this.#records.has(uid)) continue;
      const { name, namespace } = this.#kit.cache.pod(uid);
      this.#kit.metrics.count('kubelet_orphaned_runtime_pods_total');
      this.#kit.log.info('ending a pod that nobody knows', { pod: `${namespace}/${name}`, uid });
      const pod = { metadata: { name, namespace, uid }, spec: { containers: [] } } as unknown as Pod;
      const record = createRecord(pod, this.#kit.clock.now());
      record.gone = true;
      record.phase = 'terminating';
      record.graceSeconds = 1;
      this.#records.set(uid, record);
      this.#queue.add(uid);
    }
  }

  /** Stops working. Containers go on. */
  async stop(): Promise<void> {
    for (const record of this.#records.values()) record.abort.abort(new Interrupted('the kubelet ends'));
    await this.#queue.stop();
  }

  /** Ends all pods, and resolves when nothing of them is left. */
  async endAll(graceSeconds: number): Promise<void> {
    for (const record of this.#records.values()) {
      record.gone = true;
      record.graceSeconds = Math.min(record.graceSeconds ?? graceSeconds, graceSeconds);
      this.#interrupt(record);
      this.#queue.add(record.pod.metadata.uid!);
    }
    this.removeOrphans();
    while (this.#records.size > 0) await this.#kit.clock.sleep(20);
  }

  #updateVolumes(pod: Pod): void {
    void Promise.resolve(this.#kit.volumes.update(pod)).catch((error: unknown) => {
      this.#kit.log.warn('cannot update volumes', { pod: formatPod(pod), error });
    });
  }

  #interrupt(record: PodRecord): void {
    record.abort.abort(new Interrupted('the pod has changed'));
    record.abort = new AbortController();
  }

  #measured(uid: string): Promise<void> {
    const record = this.#records.get(uid);
    if (!record) return Promise.resolve();
    const { clock, metrics } = this.#kit;
    const operation_type = record.phase !== 'syncing' ? 'terminate' : record.admitted ? 'sync' : 'create';
    const now = () => clock.monotonic();
    return metrics.time('kubelet_pod_worker_duration_seconds', { operation_type }, now, () => this.#work(uid));
  }

  async #work(uid: string): Promise<void> {
    const record = this.#records.get(uid);
    if (!record) return;
    try {
      if (!record.restored) await this.#restore(record);
      if (record.phase === 'syncing') await this.#sync(record);
      if (record.phase === 'terminating') {
        await terminatePod(this.#kit, record);
        await releasePod(this.#kit, record);
        await this.#options.admission.release(uid);
        record.phase = 'terminated';
        for (const tell of record.onEnded.splice(0)) tell();
        this.#kit.resizes.ended(uid);
      }
      // What was on its way when the pod ended may have come up afterwards.
      if (record.phase === 'terminated' && isAlive(this.#kit.cache.pod(uid))) await terminatePod(this.#kit, record);
      if (record.phase === 'terminated') await this.#finish(record);
    } catch (error) {
      // Whoever broke it off has put the pod into the queue again.
      if (error instanceof Interrupted) return;
      if (record.phase === 'terminating')
        this.#kit.events.warning(record.pod, 'FailedKillPod', `error killing pod: ${describeError(error)}`);
      throw error;
    }
  }

  /** Goes on with the end of a pod where a kubelet before us was. */
  async #restore(record: PodRecord): Promise<void> {
    await restoreEnding(this.#kit, record);
    record.restored = true;
    // An orphan gets what is left of its grace period.
    if (record.gone && record.killAt !== undefined)
      record.graceSeconds = Math.max(1, Math.ceil(graceLeftMs(this.#kit, record) / 1000));
  }

  async #sync(record: PodRecord): Promise<void> {
    const { pod } = record;
    if (shouldEnd(record)) return this.#beginEnd(record);
    if (isStaticPod(pod) && this.#predecessor(record)) return void this.#queue.addAfter(pod.metadata.uid!, 200);
    if (!record.admitted && !(await this.#admit(record))) return this.#beginEnd(record);
    if (record.waitsFor) await unlessAborted(record.waitsFor, record.abort.signal);
    delete record.waitsFor;
    if (shouldEnd(record)) return this.#beginEnd(record);
    // What cannot be looked at must not be taken for missing and started twice.
    if (this.#kit.cache.pod(pod.metadata.uid).incomplete) return this.#queue.addAfter(pod.metadata.uid, 500);
    this.#watchDeadline(record);
    const { finished, againInMs } = await syncPod(this.#kit, record);
    if (finished) return this.#beginEnd(record);
    const resyncMs = this.#kit.settings.syncFrequencyMs;
    this.#queue.addAfter(pod.metadata.uid!, Math.min(againInMs ?? resyncMs, resyncMs));
  }

  /** A pod that has been active for as long as it may is ended also in the midst of a pull or a hook. */
  #watchDeadline(record: PodRecord): void {
    record.deadline?.cancel();
    delete record.deadline;
    const deadlineMs = deadlineInMs(this.#kit, record);
    if (deadlineMs === undefined) return;
    record.deadline = this.#kit.clock.after(Math.max(0, deadlineMs) + 1, () => {
      if (record.phase !== 'syncing') return;
      this.#interrupt(record);
      this.#queue.add(record.pod.metadata.uid);
    });
  }

  /** Whether the node takes the pod; the reason why not becomes its status. */
  async #admit(record: PodRecord): Promise<boolean> {
    const { pod } = record;
    const { admission } = this.#options;
    const admitted = () => {
      record.admitted = true;
      this.#kit.resizes.admitted(record);
    };
    if (this.#adopts(record)) {
      await admission.adopt(pod);
      admitted();
      return true;
    }
    const rejected = await admission.admit(pod, () => this.#running(record), admitted);
    if (!rejected) return true;
    record.failure = rejected;
    this.#kit.metrics.count('kubelet_admission_rejections_total', { reason: rejected.reason });
    this.#kit.events.warning(pod, rejected.reason, rejected.message);
    return false;
  }

  #beginEnd(record: PodRecord): void {
    record.phase = 'terminating';
    this.#publish(record);
  }

  /** A static pod waits for one of the same name that is still being ended. */
  #predecessor(record: PodRecord): boolean {
    const name = fullName(record.pod);
    return this.records().some(
      (other) =>
        other !== record &&
        fullName(other.pod) === name &&
        other.phase !== 'terminated' &&
        (other.gone || other.phase === 'terminating'),
    );
  }

  /** What runs already was admitted before we were started anew. */
  #adopts({ pod }: PodRecord): boolean {
    return isAlive(this.#kit.cache.pod(pod.metadata.uid!));
  }

  #running(except: PodRecord): Pod[] {
    return this.records()
      .filter((record) => record !== except && record.admitted && record.phase !== 'terminated')
      .map(({ pod }) => pod);
  }

  /** After the end: the last status, the deletion in the API, and at last the remains. */
  async #finish(record: PodRecord): Promise<void> {
    const { pod, mirror } = record;
    const target = isStaticPod(pod) ? mirror : pod;
    this.#publish(record);
    if (target && !record.gone) {
      if (!pod.metadata.deletionTimestamp) return;
      const uid = target.metadata.uid!;
      await this.#options.status.written(uid);
      if (record.gone) return this.#forget(record);
      if (!this.#options.client) return;
      await deleteFromApi(this.#options.client, record, target, this.#options.status.known(uid));
      this.#kit.timelines.note(pod, 'deleted from the API');
    }
    if (record.gone) await this.#forget(record);
  }

  async #forget(record: PodRecord): Promise<void> {
    record.deadline?.cancel();
    await removePod(this.#kit, record);
    const uid = record.pod.metadata.uid!;
    if (this.#records.get(uid) === record) this.#records.delete(uid);
    this.#options.status.forget(uid);
    this.#kit.resizes.forget(uid);
    this.#options.onForgotten?.(fullName(record.pod));
  }

  /** Computes the pod's status and has it written. */
  #publish(record: PodRecord): void {
    const { pod, mirror } = record;
    if (!pod.spec?.containers.length) return;
    const runtime = this.#kit.cache.pod(pod.metadata.uid);
    // What cannot be looked at is not lost: what was said of it last stands.
    if (runtime.incomplete && record.phase === 'syncing') return;
    // First: a container that is probed is not ready only because its probes have not begun.
    this.#kit.probes.follow(record);
    const computed = computeStatus(this.#kit, record, this.#options.runtimeName());
    const status = this.#options.withHealth?.(pod.metadata.uid, computed) ?? computed;
    record.status = status;
    if (!record.toldReady && status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True')) {
      record.toldReady = true;
      this.#kit.timelines.note(pod, 'ready');
    }
    const target = isStaticPod(pod) ? mirror : pod;
    if (!target || record.gone) return;
    const { namespace = '', name = '', uid = '' } = target.metadata;
    this.#options.status.set({ namespace, name, uid }, status);
  }
}
