import type { Clock } from '../../async/index.ts';

/** Upper bounds of the duration histogram, seconds. */
export const operationBuckets = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600] as const;

/** How long operations of one kind took. */
export interface OperationDurations {
  plugin: string;
  operation: string;
  status: 'success' | 'fail-unknown';
  count: number;
  sumSeconds: number;
  /** Operations up to each of {@link operationBuckets}, cumulative. */
  buckets: number[];
}

/** Measures operations on volumes, for `storage_operation_duration_seconds`. */
export class Operations {
  readonly #clock: Clock;
  readonly #durations = new Map<string, OperationDurations>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async measure<T>(plugin: string, operation: string, task: () => Promise<T>): Promise<T> {
    const startedAt = this.#clock.monotonic();
    try {
      const result = await task();
      this.#note(plugin, operation, 'success', startedAt);
      return result;
    } catch (error) {
      this.#note(plugin, operation, 'fail-unknown', startedAt);
      throw error;
    }
  }

  durations(): OperationDurations[] {
    return [...this.#durations.values()];
  }

  #note(plugin: string, operation: string, status: OperationDurations['status'], startedAt: number): void {
    const seconds = (this.#clock.monotonic() - startedAt) / 1000;
    const key = `${plugin} ${operation} ${status}`;
    const known = this.#durations.get(key) ?? {
      ...{ plugin, operation, status, count: 0, sumSeconds: 0 },
      buckets: operationBuckets.map(() => 0),
    };
    known.count++;
    known.sumSeconds += seconds;
    for (const [index, bound] of operationBuckets.entries()) if (seconds <= bound) known.buckets[index]!++;
    this.#durations.set(key, known);
  }
}
