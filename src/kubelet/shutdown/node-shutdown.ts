import { readFile, rename, writeFile } from 'node:fs/promises';
import type { Pod } from '../../api/index.ts';
import type { Clock, Timer } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import type { AdmitHandler } from '../admission/admission.ts';
import type { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import type { PodFailure } from '../pods/pod-record.ts';
import type { Logind } from './logind.ts';
import { planShutdown, type ShutdownGroup, type ShutdownPeriod } from './shutdown-plan.ts';

/** What a graceful shutdown needs. */
export interface NodeShutdownOptions {
  periods: readonly ShutdownPeriod[];
  /** Address of the system bus. */
  busAddress: string;
  /** Where drop-ins of logind's configuration are. Default /etc/systemd/logind.conf.d */
  logindDirectory?: string;
  /** `<root>/graceful_node_shutdown_state`; undefined: when shutdowns were is not remembered. */
  stateFile: string | undefined;
  /** Pods that have not ended. */
  pods(): readonly Pod[];
  /** Ends a pod; resolves when it has ended. */
  end(pod: Pod, failure: PodFailure, graceSeconds: number): Promise<void>;
  /** Says on the Node object what happens. */
  nodeEvent(reason: 'NodeShutdown', message: string): void;
  /** The node's status should be written soon. */
  onChange(): void;
  metrics: KubeletMetrics;
  clock: Clock;
  log: Logger;
}

/** How long after a lost bus, or a failure, it is tried again, milliseconds. */
const reconnectMs = 1000;
const longestReconnectMs = 60_000;

const text = 'Pod was terminated in response to imminent node shutdown.';

/**
 * Ends pods in order when the machine is shut down: delays the shutdown by logind's inhibitor, says that the node is not
 * ready, takes no more pods, and gives each priority its time.
 */
export class NodeShutdown implements AdmitHandler {
  readonly name = 'node shutdown';
  readonly #options: NodeShutdownOptions;
  #logind: Logind | undefined;
  #timer: Timer | undefined;
  #shuttingDown = false;
  #stopped = false;
  #told: string | undefined;
  #turn: Promise<void> = Promise.resolve();

  constructor(options: NodeShutdownOptions) {
    this.#options = options;
  }

  /** Why the node is not ready; undefined when it is not being shut down. */
  get problem(): string | undefined {
    return this.#shuttingDown ? 'node is shutting down' : undefined;
  }

  admit(): PodFailure | undefined {
    return this.#shuttingDown
      ? { reason: 'NodeShutdown', message: 'Pod was rejected as the node is shutting down.' }
      : undefined;
  }

  /** Connects to logind, now and whenever it has gone. Without one the node works, and says so once. */
  async start(): Promise<void> {
    const { periods, log } = this.#options;
    await this.#readState();
    if (periods.length === 0) return;
    log.info('pods get time when the node is shut down', { periods });
    await this.#connect(reconnectMs);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#logind?.close();
  }

  async #connect(retryMs: number): Promise<void> {
    const { periods, busAddress, logindDirectory = '/etc/systemd/logind.conf.d', clock, log } = this.#options;
    const neededMs = periods.reduce((sum, { seconds }) => sum + seconds, 0) * 1000;
    try {
      const { Logind: Session } = await import('./logind.ts');
      this.#logind = await Session.open(neededMs, {
        address: busAddress,
        configurationDirectory: logindDirectory,
        clock,
        onShutdown: (is) => {
          this.#turn = this.#turn
            .then(() => this.#changed(is))
            .catch((error: unknown) => log.warn('shutdown of the node not handled', { error }));
        },
        onEnd: () => this.#again(reconnectMs),
      });
      this.#told = undefined;
      log.info('shutdowns of the node wait for its pods', { seconds: neededMs / 1000 });
      if (this.#stopped) this.#logind.close();
    } catch (error) {
      if (this.#stopped) return;
      const said = String((error as Error).message);
      if (said !== this.#told)
        log.warn('no graceful shutdown of the node: logind cannot be asked to wait', { bus: busAddress, error });
      this.#told = said;
      this.#again(Math.min(retryMs * 2, longestReconnectMs));
    }
  }

  #again(afterMs: number): void {
    this.#logind?.close();
    this.#logind = undefined;
    if (!this.#stopped) this.#timer = this.#options.clock.after(afterMs, () => void this.#connect(afterMs));
  }

  async #changed(is: boolean): Promise<void> {
    const { nodeEvent, onChange, log, clock, metrics } = this.#options;
    if (is === this.#shuttingDown) return;
    this.#shuttingDown = is;
    nodeEvent('NodeShutdown', `Shutdown manager detected shutdown ${is ? 'event' : 'cancellation'}`);
    log.info(is ? 'the node is being shut down' : 'the shutdown of the node was called off');
    onChange();
    if (!is) return this.#logind?.hold();
    const startTime = clock.now();
    await this.#writeState(startTime);
    metrics.set('kubelet_graceful_shutdown_start_time_seconds', startTime / 1000);
    metrics.set('kubelet_graceful_shutdown_end_time_seconds', 0);
    try {
      for (const group of planShutdown(this.#options.periods, this.#options.pods())) await this.#endGroup(group);
      await this.#writeState(startTime, clock.now());
      metrics.set('kubelet_graceful_shutdown_end_time_seconds', clock.now() / 1000);
    } finally {
      this.#logind?.release();
      log.info('pods have ended: the node may be shut down');
    }
  }

  async #endGroup({ pods, priority, seconds }: ShutdownGroup): Promise<void> {
    const { end, clock, log } = this.#options;
    const failure = { reason: 'Terminated', message: text, disruption: text };
    const ended = Promise.all(
      pods.map(({ pod, graceSeconds }) =>
        end(pod, failure, graceSeconds).catch((error: unknown) =>
          log.warn('cannot end a pod before the node is shut down', { pod: pod.metadata.name, error }),
        ),
      ),
    ).then(() => true);
    const over = new AbortController();
    const late = clock.sleep(seconds * 1000, over.signal).then(
      () => false,
      () => true,
    );
    const all = await Promise.race([ended, late]);
    over.abort();
    log.info(all ? 'pods of a priority have ended' : 'time of pods of a priority is over', {
      priority,
      pods: pods.length,
    });
  }

  async #readState(): Promise<void> {
    const { stateFile, metrics, log } = this.#options;
    if (!stateFile) return;
    try {
      const { startTime, endTime } = JSON.parse(await readFile(stateFile, 'utf8')) as Record<string, string>;
      for (const [name, time] of [
        ['start', startTime],
        ['end', endTime],
      ] as const) {
        const ms = Date.parse(time ?? '');
        if (ms > 0) metrics.set(`kubelet_graceful_shutdown_${name}_time_seconds`, ms / 1000);
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        log.warn('cannot read when the node was shut down', { file: stateFile, error });
    }
  }

  async #writeState(startMs: number, endMs?: number): Promise<void> {
    const { stateFile, log } = this.#options;
    if (!stateFile) return;
    const startTime = new Date(startMs).toISOString();
    const endTime = endMs === undefined ? '0001-01-01T00:00:00Z' : new Date(endMs).toISOString();
    try {
      await writeFile(`${stateFile}.tmp`, JSON.stringify({ startTime, endTime }), { mode: 0o644 });
      await rename(`${stateFile}.tmp`, stateFile);
    } catch (error) {
      log.warn('cannot write when the node was shut down', { file: stateFile, error });
    }
  }
}
