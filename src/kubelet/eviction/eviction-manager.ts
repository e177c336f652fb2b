import type { Pod } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import type { AdmitHandler } from '../admission/admission.ts';
import { durationMs } from '../config/duration.ts';
import type { KubeletSettings } from '../config/settings.ts';
import { describeError } from '../errors.ts';
import type { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import { formatPod } from '../pods/names.ts';
import type { PodEvents } from '../pods/pod-events.ts';
import type { PodFailure, PodRecord } from '../pods/pod-record.ts';
import type { NodePressure } from '../pods/ports.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import type { Statistics } from '../statistics/index.ts';
import { crossed, type EvictionMemory, judge, mostUrgent, noMemory, pressureOf, resourceOf } from './judge.ts';
import type { DiskLayout, Observations, PodFigures } from './observations.ts';
import { type EvictionStep, planReclaim, planStorageLimits, planVictim } from './plan-eviction.ts';
import { pressureHandler } from './pressure-handler.ts';
import { type NodeGround, observeNode, readFigures, readFiguresNow, readLayout } from './read-figures.ts';
import { readThresholds, type Threshold, withContainerThresholds } from './thresholds.ts';

/** What eviction needs. */
export interface EvictionOptions {
  settings: KubeletSettings;
  client: RuntimeClient;
  statistics: Statistics;
  records(): PodRecord[];
  /** Whether all pods of the node are known: before that none is ended. */
  ready(): boolean;
  /** Ends a pod; resolves when nothing of it runs any more. */
  end(podUid: string, failure: PodFailure, graceSeconds: number): Promise<void>;
  /** Removes what no pod uses. */
  reclaim: { containers(): Promise<void>; images(): Promise<void> };
  /** The node's conditions are others. */
  changed(): void;
  nodeEvent(type: 'Normal' | 'Warning', reason: string, message: string): void;
  events: PodEvents;
  metrics: KubeletMetrics;
  log: Logger;
  clock: Clock;
}

/** How often the node is looked at, milliseconds; oftener where the configuration asks to be told of memory at once. */
const lookMs = 1000;
const promptLookMs = 100;
/** How often every pod's local storage is looked at, milliseconds. */
const storageMs = 10_000;
/** Longest wait for the end of an evicted pod before the node is looked at again, milliseconds. */
const endMs = 30_000;

type Evict = Extract<EvictionStep, { kind: 'evict' }>;

/**
 * Keeps the node from running dry: sees what runs short, says so in the node's conditions, frees what nobody uses, and
 * ends pods one at a time when that is not enough. Pods that use more local storage than they may are ended, too.
 */
export class EvictionManager {
  readonly #options: EvictionOptions;
  readonly #end = new AbortController();
  #thresholds: Threshold[];
  #layout: DiskLayout = { dedicatedImages: false, split: false };
  #stores: NodeGround['stores'] | undefined;
  #askAt = 0;
  #memory: EvictionMemory = noMemory;
  #pressures: ReadonlySet<NodePressure> = new Set();
  #storageAt = Number.NEGATIVE_INFINITY;
  #running: Promise<void> | undefined;

  constructor(options: EvictionOptions) {
    this.#options = options;
    this.#thresholds = readThresholds(options.settings.configuration);
  }

  /** What the node runs short of now. */
  get pressures(): ReadonlySet<NodePressure> {
    return this.#pressures;
  }

  /** Keeps pods off while the node runs short. */
  get admission(): AdmitHandler {
    return pressureHandler(() => this.#pressures);
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#end.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { settings, clock, log } = this.#options;
    const { signal } = this.#end;
    const pauseMs = settings.configuration.kernelMemcgNotification ? promptLookMs : lookMs;
    while (!signal.aborted) {
      await this.#look().catch((error: unknown) => {
        if (!signal.aborted) log.warn('cannot look whether the node runs short', { error });
      });
      await clock.sleep(pauseMs, signal).catch(() => {});
    }
  }

  /** One look at the node, and what follows from it. */
  async #look(): Promise<void> {
    const { settings, clock } = this.#options;
    await this.#findStores();
    const observations = this.#observe();
    const transitionMs = durationMs(settings.configuration.evictionPressureTransitionPeriod);
    const { memory, pressures } = judge(this.#thresholds, observations, this.#memory, {
      ...{ now: clock.monotonic(), transitionMs },
    });
    this.#memory = memory;
    this.#setPressures(pressures);
    if (!this.#options.ready() || (await this.#enforceLimits())) return;
    if (memory.due.length > 0) await this.#relieve(memory.due, observations);
  }

  /** Where the runtime keeps things; asked until it answers. Until then its stores count as the kubelet's. */
  async #findStores(): Promise<void> {
    const { settings, client, clock, log } = this.#options;
    if (this.#stores || clock.monotonic() < this.#askAt) return;
    this.#askAt = clock.monotonic() + storageMs;
    try {
      const { layout, stores } = await readLayout(client, settings.rootDirectory);
      this.#layout = layout;
      this.#stores = stores;
      this.#thresholds = withContainerThresholds(this.#thresholds, layout);
    } catch (error) {
      log.debug('the runtime does not say where its stores are', { error });
    }
  }

  #observe(): Observations {
    const { settings, statistics } = this.#options;
    return observeNode({ rootDirectory: settings.rootDirectory, stores: this.#stores ?? {}, statistics });
  }

  #setPressures(pressures: ReadonlySet<NodePressure>): void {
    const before = this.#pressures;
    this.#pressures = pressures;
    if (before.size !== pressures.size || [...pressures].some((one) => !before.has(one))) this.#options.changed();
  }

  /** Ends pods that use more local storage than they may; true when there were any. */
  async #enforceLimits(): Promise<boolean> {
    const { settings, statistics, clock } = this.#options;
    if (!settings.configuration.localStorageCapacityIsolation) return false;
    if (clock.monotonic() - this.#storageAt < storageMs) return false;
    this.#storageAt = clock.monotonic();
    const pods = this.#active();
    if (!pods.some(hasStorageLimit)) return false;
    const figures = await readFigures(statistics);
    const steps = planStorageLimits({ pods, figures: (uid) => figures.get(uid), layout: this.#layout });
    await Promise.all(steps.map((step) => this.#evict(step as Evict)));
    return steps.length > 0;
  }

  async #relieve(due: readonly Threshold[], observations: Observations): Promise<void> {
    const { settings, statistics, nodeEvent, log, metrics, clock } = this.#options;
    const urgent = mostUrgent(due)!;
    const resource = resourceOf(urgent.signal);
    log.warn('the node runs short', { resource, signal: urgent.signal, ...observations[urgent.signal] });
    nodeEvent('Warning', 'EvictionThresholdMet', `Attempting to reclaim ${resource}`);
    const reclaim = planReclaim(urgent.signal, this.#layout);
    if (reclaim?.kind === 'reclaim' && (await this.#reclaim(reclaim))) return;
    const readAt = clock.monotonic();
    const pods = this.#active();
    const onDisk = pressureOf[urgent.signal] === 'DiskPressure';
    const figures: Map<string, PodFigures> = onDisk
      ? await readFiguresNow(statistics, settings.rootDirectory, pods)
      : await readFigures(statistics);
    const step = planVictim(urgent, due, observations, {
      ...{ pods, figures: (uid) => figures.get(uid), layout: this.#layout },
      maximumGraceSeconds: settings.configuration.evictionMaxPodGracePeriod,
    });
    if (step?.kind !== 'evict') return log.warn('the node runs short, and no pod can be ended for it', { resource });
    const age = (clock.monotonic() - readAt) / 1000;
    metrics.observe('kubelet_eviction_stats_age_seconds', age, { eviction_signal: urgent.signal });
    await this.#evict(step);
  }

  /** Frees what nobody uses; true when that was enough. */
  async #reclaim({ containers, images }: Extract<EvictionStep, { kind: 'reclaim' }>): Promise<boolean> {
    const { reclaim, log } = this.#options;
    for (const [wanted, free] of [
      [containers, reclaim.containers],
      [images, reclaim.images],
    ] as const) {
      if (wanted)
        await free().catch((error: unknown) => log.info('not all could be freed', { error: describeError(error) }));
    }
    return crossed(this.#thresholds, this.#observe(), { reclaim: true }).length === 0;
  }

  async #evict({ pod, message, graceSeconds, signal, disruption, annotations }: Evict): Promise<void> {
    const { events, metrics, log, clock, end } = this.#options;
    log.info('evicting a pod', { pod: formatPod(pod), signal, text: message });
    events.warning(pod, 'Evicted', message, undefined, annotations);
    metrics.count('kubelet_evictions', { eviction_signal: signal });
    const failure = { reason: 'Evicted', message, ...(disruption ? { disruption: message } : {}) };
    const late = new AbortController();
    const patience = clock.sleep(endMs, AbortSignal.any([late.signal, this.#end.signal])).catch(() => {});
    await Promise.race([end(pod.metadata.uid, failure, graceSeconds), patience]);
    late.abort();
  }

  /** The pods that run and are not being ended. */
  #active(): Pod[] {
    return this.#options
      .records()
      .filter(({ phase, admitted, failure, pod }) => {
        return phase === 'syncing' && admitted && !failure && pod.metadata.deletionTimestamp === undefined;
      })
      .map(({ pod }) => pod);
  }
}

/** Whether there is something that a pod may use too much of. */
function hasStorageLimit({ spec }: Pod): boolean {
  const all = [...spec.containers, ...(spec.initContainers ?? [])];
  return (
    (spec.volumes ?? []).some(({ emptyDir }) => emptyDir?.sizeLimit !== undefined) ||
    all.some(({ resources }) => resources?.limits?.['ephemeral-storage'] !== undefined)
  );
}
