import { type ContainerEventResponse, ContainerEventType } from '../../api/cri/index.ts';
import type { Clock } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import type { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import type { RuntimeCache } from './runtime-cache.ts';
import { isUnimplemented, type RuntimeClient } from './runtime-client.ts';

/** How the runtime is watched. */
export interface RuntimeWatchOptions {
  client: RuntimeClient;
  cache: RuntimeCache;
  clock: Clock;
  log: Logger;
  metrics: KubeletMetrics;
  /** Told after each relist of everything. */
  onRelist(): void;
}

/** Milliseconds between relists of everything: without events they are all there is, with events only the net below. */
const relistMs = { withoutEvents: 1000, withEvents: 10_000 };
/** Waits between looks at a container that has just started, of a runtime without events, milliseconds. */
const quickLooksMs = [40, 60, 100, 150, 200, 300];
/** First and longest wait before a broken event stream is opened again, milliseconds. */
const reopenMs = { first: 50, longest: 1000 };

/**
 * Keeps the cache of the runtime true: by its event stream where it has one, and by relists always.
 * A runtime that is away is asked again and again; what was known stays until it is back.
 */
export class RuntimeWatch {
  readonly #options: RuntimeWatchOptions;
  readonly #stop = new AbortController();
  #eventsFlow = false;
  #relisting: Promise<void> | undefined;
  #wakeRelist: (() => void) | undefined;
  #isDown = false;
  #relistedAt: number | undefined;

  constructor(options: RuntimeWatchOptions) {
    this.#options = options;
  }

  /** Whether events come in. */
  get hasEvents(): boolean {
    return this.#eventsFlow;
  }

  /**
   * A container has been started. Without events its end would be seen only by the next relist: those that end at once
   * (jobs, init containers, crashes) are looked at soon.
   */
  started(containerId: string, sandboxId: string): void {
    if (this.#eventsFlow) return;
    void this.#lookSoon(containerId, sandboxId);
  }

  async #lookSoon(containerId: string, sandboxId: string): Promise<void> {
    const { cache, clock } = this.#options;
    for (const waitMs of quickLooksMs) {
      await clock.sleep(waitMs, this.#stop.signal).catch(() => {});
      if (this.#stop.signal.aborted || cache.container(containerId)?.state !== 'running') return;
      await cache.refreshContainer(containerId, sandboxId).catch(() => {});
    }
  }

  /** Relists everything for the first time (trying until the runtime answers), then watches. */
  async start(): Promise<void> {
    const { clock } = this.#options;
    void this.#events();
    while (!this.#stop.signal.aborted && !(await this.relist())) await clock.sleep(50);
    void this.#relists();
  }

  stop(): void {
    this.#stop.abort(new Error('runtime watch stopped'));
    this.#wakeRelist?.();
  }

  /** Relists everything; false when the runtime did not answer. */
  async relist(): Promise<boolean> {
    const { log, onRelist } = this.#options;
    this.#relisting ??= this.#measuredRelist().finally(() => {
      this.#relisting = undefined;
    });
    try {
      await this.#relisting;
      if (this.#isDown) log.info('the container runtime answers again');
      this.#isDown = false;
      onRelist();
      return true;
    } catch (error) {
      if (!this.#isDown && !this.#stop.signal.aborted)
        log.warn('cannot list what the container runtime has', { error });
      this.#isDown = true;
      return false;
    }
  }

  async #measuredRelist(): Promise<void> {
    const { cache, clock, metrics } = this.#options;
    const startedAt = clock.monotonic();
    if (this.#relistedAt !== undefined)
      metrics.observe('kubelet_pleg_relist_interval_seconds', (startedAt - this.#relistedAt) / 1000);
    this.#relistedAt = startedAt;
    await metrics.time(
      'kubelet_pleg_relist_duration_seconds',
      {},
      () => clock.monotonic(),
      () => cache.relist(),
    );
    metrics.set('kubelet_pleg_last_seen_seconds', Math.floor(clock.now() / 1000));
  }

  async #relists(): Promise<void> {
    const { clock } = this.#options;
    while (!this.#stop.signal.aborted) {
      const quiet = this.#eventsFlow && !this.#isDown;
      const waitMs = quiet ? relistMs.withEvents : relistMs.withoutEvents;
      await new Promise<void>((resolve) => {
        const timer = clock.after(waitMs, resolve);
        this.#wakeRelist = () => {
          timer.cancel();
          resolve();
        };
      });
      if (!this.#stop.signal.aborted) await this.relist();
    }
  }

  async #events(): Promise<void> {
    const { client, clock, metrics } = this.#options;
    const { signal } = this.#stop;
    let waitMs = reopenMs.first;
    while (!signal.aborted) {
      try {
        for await (const event of client.runtime.getContainerEvents({}, { signal })) {
          if (!this.#eventsFlow) metrics.count('kubelet_evented_pleg_connection_success_count');
          this.#eventsFlow = true;
          waitMs = reopenMs.first;
          await this.#apply(event);
        }
      } catch (error) {
        if (isUnimplemented(error)) return this.#noEvents();
        if (!signal.aborted) metrics.count('kubelet_evented_pleg_connection_error_count');
      }
      if (signal.aborted) return;
      this.#eventsFlow = false;
      // What happened meanwhile is found by listing.
      this.#wakeRelist?.();
      await clock.sleep(waitMs, signal).catch(() => {});
      waitMs = Math.min(waitMs * 2, reopenMs.longest);
    }
  }

  async #apply(event: ContainerEventResponse): Promise<void> {
    const { cache, clock, log, metrics } = this.#options;
    const lateMs = clock.now() - Number(event.createdAt / 1_000_000n);
    metrics.observe('kubelet_evented_pleg_connection_latency_seconds', Math.max(0, lateMs) / 1000);
    await cache.apply(event).catch((error: unknown) => {
      const type = ContainerEventType[event.containerEventType];
      metrics.count('kubelet_pleg_discard_events');
      log.debug('cannot take over an event of the runtime', { container: event.containerId, type, error });
    });
  }

  #noEvents(): void {
    this.#eventsFlow = false;
    this.#options.log.info('the container runtime has no events: it is listed every second instead');
  }
}
