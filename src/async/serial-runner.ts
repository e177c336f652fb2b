/**
 * Runs tasks one after another per key, different keys side by side.
 *
 * Invariants: tasks of one key never overlap and run in the order of run(); a failed task does not stop the next;
 * nothing is kept for a key without tasks.
 */
export class SerialRunner {
  readonly #tails = new Map<string, Promise<unknown>>();

  /** Runs the task when those before it under the key have ended, and gives its result. */
  run<T>(key: string, task: () => Promise<T> | T): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const result = before.then(task);
    const tail = result.catch(() => {});
    this.#tails.set(key, tail);
    void tail.then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    });
    return result;
  }

  /** Whether a task of the key waits or runs. */
  busy(key: string): boolean {
    return this.#tails.has(key);
  }
}
