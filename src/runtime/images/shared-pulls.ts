/** One piece of work for many askers: it goes on as long as one of them still wants it. */
export class SharedPulls<T> {
  readonly #running = new Map<string, { result: Promise<T>; askers: number; controller: AbortController }>();

  /** Joins the work under the key or begins it. An asker whose signal aborts leaves; when the last has left, the work is cancelled. */
  async run(key: string, begin: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (signal?.aborted) throw signal.reason;
    let work = this.#running.get(key);
    if (!work) {
      const controller = new AbortController();
      const result = begin(controller.signal).finally(() => {
        if (this.#running.get(key)?.controller === controller) this.#running.delete(key);
      });
      result.catch(() => {});
      work = { result, askers: 0, controller };
      this.#running.set(key, work);
    }
    const joined = work;
    joined.askers++;
    let leave: () => void = () => {};
    const left = new Promise<never>((_, reject) => {
      leave = () => reject(signal!.reason);
      signal?.addEventListener('abort', leave, { once: true });
    });
    try {
      return await (signal ? Promise.race([joined.result, left]) : joined.result);
    } finally {
      signal?.removeEventListener('abort', leave);
      if (--joined.askers === 0 && this.#running.get(key) === joined) {
        this.#running.delete(key);
        joined.controller.abort(signal?.reason ?? new Error('nobody waits for the pull any more'));
      }
    }
  }
}
