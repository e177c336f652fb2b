import type { Clock } from '../../async/index.ts';
import type { KubeletMetrics } from '../metrics/kubelet-metrics.ts';

/** Measures operations on volumes: `storage_operation_duration_seconds` and `volume_operation_total_errors`. */
export class Operations {
  readonly #clock: Clock;
  readonly #metrics: KubeletMetrics | undefined;

  constructor(clock: Clock, metrics?: KubeletMetrics) {
    this.#clock = clock;
    this.#metrics = metrics;
  }

  /** @param operation as upstream's metrics name it, `volume_mount` */
  async measure<T>(plugin: string, operation: string, task: () => Promise<T>): Promise<T> {
    const startedAt = this.#clock.monotonic();
    const note = (status: string): void =>
      this.#metrics?.observe('storage_operation_duration_seconds', (this.#clock.monotonic() - startedAt) / 1000, {
        volume_plugin: plugin,
        operation_name: operation,
        status,
        migrated: 'false',
      });
    try {
      const result = await task();
      note('success');
      return result;
    } catch (error) {
      note('fail-unknown');
      this.#metrics?.count('volume_operation_total_errors', { plugin_name: plugin, operation_name: operation });
      throw error;
    }
  }
}
