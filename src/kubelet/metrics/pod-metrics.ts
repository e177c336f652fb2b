import type { Pod, PodStatus } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import { parseTime } from '../pods/names.ts';
import type { PodRecord } from '../pods/pod-record.ts';
import type { RuntimeContainer } from '../pods/runtime-state.ts';
import type { TimelineStep } from '../pods/timeline.ts';
import type { KubeletMetrics } from './kubelet-metrics.ts';

/** What is remembered of a pod until it runs. */
interface Start {
  seenAt: number;
  planned: boolean;
  /** Time in which containers waited for their images, milliseconds. */
  pullMs: number;
}

/** How many pods that have not run yet are remembered. */
const mostStarts = 1000;

/** Counts what becomes of pods and their containers, from the steps of their timelines and their statuses. */
export class PodMetrics {
  readonly #metrics: KubeletMetrics;
  readonly #clock: Clock;
  readonly #records: () => PodRecord[];
  readonly #starts = new Map<string, Start>();
  readonly #startedAt: number;
  #toldNetwork = false;

  constructor(options: { metrics: KubeletMetrics; clock: Clock; records: () => PodRecord[] }) {
    this.#metrics = options.metrics;
    this.#clock = options.clock;
    this.#records = options.records;
    this.#startedAt = options.clock.now();
    options.metrics.onCollect(() => this.#collect());
  }

  /** A step of a pod's life. */
  step(pod: Pod, { step, durationMs = 0, failed, container }: TimelineStep): void {
    const { uid } = pod.metadata;
    const metrics = this.#metrics;
    if (step === 'seen') return this.#seen(pod);
    const start = this.#starts.get(uid);
    if (step === 'planned' && start && !start.planned) {
      start.planned = true;
      metrics.observe('kubelet_pod_worker_start_duration_seconds', (this.#clock.monotonic() - start.seenAt) / 1000);
    }
    if (step === 'image' && start) start.pullMs += durationMs;
    if (step === 'sandbox') {
      metrics.count(failed ? 'kubelet_started_pods_errors_total' : 'kubelet_started_pods_total');
      if (pod.spec.hostUsers === false)
        metrics.count(`kubelet_started_user_namespaced_pods_${failed ? 'errors_total' : 'total'}`);
    }
    const labels = { container_type: containerType(pod, container ?? '') };
    if (step === 'start container' && !failed) metrics.count('kubelet_started_containers_total', labels);
    if (failed && (step === 'create container' || step === 'start container'))
      metrics.count('kubelet_started_containers_errors_total', {
        ...labels,
        code: step === 'create container' ? 'CreateContainerError' : 'RunContainerError',
      });
  }

  /** A container has changed its state. */
  container(podUid: string, container: RuntimeContainer): void {
    // Ends of before our start were counted then.
    if (container.state !== 'exited' || container.finishedAt < this.#startedAt) return;
    const pod = this.#records().find((record) => record.pod.metadata.uid === podUid)?.pod;
    const { exitCode, reason, name } = container;
    this.#metrics.count('kubelet_terminated_containers_total', {
      container_type: pod ? containerType(pod, name) : 'container',
      exit_code: String(exitCode),
      reason: reason || (exitCode === 0 ? 'Completed' : 'Error'),
    });
  }

  /** A status has been written, so long after it changed. */
  written(pod: Pod, status: PodStatus, afterMs: number): void {
    this.#metrics.observe('kubelet_pod_status_sync_duration_seconds', afterMs / 1000);
    const start = this.#starts.get(pod.metadata.uid);
    if (!start || !allStarted(pod, status)) return;
    this.#starts.delete(pod.metadata.uid);
    const metrics = this.#metrics;
    metrics.observe('kubelet_pod_start_duration_seconds', (this.#clock.monotonic() - start.seenAt) / 1000);
    const createdAt = parseTime(pod.metadata.creationTimestamp);
    if (createdAt === undefined) return;
    // The API gives whole seconds: the pod was seen after its creation, so it was not created after that.
    const totalMs = Math.max(this.#clock.now() - createdAt, this.#clock.monotonic() - start.seenAt);
    metrics.observe('kubelet_pod_start_total_duration_seconds', totalMs / 1000);
    const seconds = Math.max(0, totalMs - start.pullMs - initMs(status)) / 1000;
    metrics.observe('kubelet_pod_start_sli_duration_seconds', seconds);
    if (this.#toldNetwork || pod.spec.hostNetwork) return;
    this.#toldNetwork = true;
    this.#metrics.set('kubelet_first_network_pod_start_sli_duration_seconds', seconds);
  }

  #seen(pod: Pod): void {
    const ran = pod.status?.containerStatuses?.some(({ state }) => state?.running || state?.terminated) ?? false;
    if (!ran) this.#starts.set(pod.metadata.uid, { seenAt: this.#clock.monotonic(), planned: false, pullMs: 0 });
    if (this.#starts.size > mostStarts) this.#starts.delete(this.#starts.keys().next().value!);
    this.#metrics.observe('kubelet_containers_per_pod_count', pod.spec.containers.length);
  }

  #collect(): void {
    const records = this.#records().filter(({ pod }) => pod.spec.containers.length > 0);
    const isStatic = ({ pod }: PodRecord) => pod.metadata.annotations?.['kubernetes.io/config.source'] !== undefined;
    const byState = new Map<string, number>();
    const add = (state: string) => byState.set(state, (byState.get(state) ?? 0) + 1);
    for (const { status } of records) {
      const { containerStatuses = [], initContainerStatuses = [], ephemeralContainerStatuses = [] } = status ?? {};
      for (const { state } of [...containerStatuses, ...initContainerStatuses, ...ephemeralContainerStatuses])
        if (state?.running) add('running');
        else if (state?.terminated) add('exited');
    }
    const metrics = this.#metrics;
    metrics.set('kubelet_running_containers', byState.get('running') ?? 0, { container_state: 'running' });
    metrics.set('kubelet_running_containers', byState.get('exited') ?? 0, { container_state: 'exited' });
    metrics.set(
      'kubelet_managed_ephemeral_containers',
      records.reduce((sum, { pod }) => sum + (pod.spec.ephemeralContainers?.length ?? 0), 0),
    );
    metrics.set('kubelet_mirror_pods', records.filter(({ mirror }) => mirror).length);
    metrics.clear('kubelet_working_pods');
    for (const kind of [true, false]) {
      const own = records.filter((record) => isStatic(record) === kind);
      const label = { static: kind ? 'true' : '' };
      metrics.set('kubelet_desired_pods', own.filter(({ gone }) => !gone).length, label);
      metrics.set('kubelet_active_pods', own.filter(({ phase }) => phase === 'syncing').length, label);
    }
    for (const record of this.#records())
      metrics.count('kubelet_working_pods', {
        lifecycle: record.phase === 'syncing' ? 'sync' : record.phase,
        config: record.pod.spec.containers.length === 0 ? 'runtime_only' : record.gone ? 'orphan' : 'desired',
        static: isStatic(record) ? 'true' : '',
      });
  }
}

function containerType({ spec }: Pod, name: string): string {
  if (spec.initContainers?.some((one) => one.name === name)) return 'init_container';
  if (spec.ephemeralContainers?.some((one) => one.name === name)) return 'ephemeral_container';
  return 'container';
}

function allStarted({ spec }: Pod, { containerStatuses = [] }: PodStatus): boolean {
  const started = containerStatuses.filter(({ state }) => state?.running || state?.terminated);
  return started.length >= spec.containers.length;
}

/** How long the init containers ran that have ended, milliseconds. */
function initMs({ initContainerStatuses = [] }: PodStatus): number {
  return initContainerStatuses.reduce((sum, { state }) => {
    const [from, to] = [parseTime(state?.terminated?.startedAt), parseTime(state?.terminated?.finishedAt)];
    return sum + (from !== undefined && to !== undefined ? Math.max(0, to - from) : 0);
  }, 0);
}
