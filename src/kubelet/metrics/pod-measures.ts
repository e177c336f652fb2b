import type { PodStatus } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import type { PodRecord } from '../pods/pod-record.ts';
import type { RuntimeContainer } from '../pods/runtime-state.ts';
import { Timelines } from '../pods/timeline.ts';
import type { KubeletMetrics } from './kubelet-metrics.ts';
import { PodMetrics } from './pod-metrics.ts';

/** What is noted and counted of pods: timelines, and the metrics that are made from them. */
export class PodMeasures {
  readonly timelines: Timelines;
  readonly #counts: PodMetrics;
  readonly #clock: Clock;
  readonly #records: () => PodRecord[];

  constructor(options: { metrics: KubeletMetrics; clock: Clock; records: () => PodRecord[] }) {
    this.#clock = options.clock;
    this.#records = options.records;
    this.#counts = new PodMetrics(options);
    this.timelines = new Timelines(options.clock, (pod, step) => this.#counts.step(pod, step));
  }

  /** A container may have changed its state. */
  container(podUid: string, container: RuntimeContainer | undefined): void {
    if (container) this.#counts.container(podUid, container);
  }

  /** The API has a pod's status now, so long after it changed. */
  written(uid: string, status: PodStatus, afterMs: number): void {
    const pod = this.#records().find(({ pod, mirror }) => (mirror ?? pod).metadata.uid === uid)?.pod;
    if (!pod) return;
    const startedAt = this.#clock.monotonic() - afterMs;
    this.timelines.note(pod, 'status written', { startedAt, detail: describeStatus(status) });
    this.#counts.written(pod, status, afterMs);
  }
}

const describeStatus = ({ phase = '', conditions = [] }: PodStatus): string =>
  `${phase}${conditions.some(({ type, status }) => type === 'Ready' && status === 'True') ? ', Ready' : ''}`;
