import { type Clock, systemClock } from './clock.ts';

/** Raised by {@link withDeadline} and {@link pollUntil} when time runs out. */
export class DeadlineError extends Error {
  readonly code = 'DEADLINE_EXCEEDED';
}

/** Runs the task with a signal that aborts after `ms` (or with `signal`). @throws DeadlineError */
export async function withDeadline<T>(
  what: string,
  ms: number,
  task: (signal: AbortSignal) => Promise<T>,
  options: { clock?: Clock; signal?: AbortSignal } = {},
): Promise<T> {
  const controller = new AbortController();
  const late = new DeadlineError(`${what} did not end within ${ms} ms`);
  const signal = options.signal ? AbortSignal.any([options.signal, controller.signal]) : controller.signal;
  const timer = (options.clock ?? systemClock).after(ms, () => controller.abort(late));
  const aborted = new Promise<never>((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  try {
    return await Promise.race([task(signal), aborted]);
  } finally {
    timer.cancel();
  }
}

/** Waits for the promise, or throws the signal's reason as soon as that aborts; what the promise does then is dropped. */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    promise.catch(() => {});
  }
}

/** Calls `probe` every `intervalMs` until it gives something other than undefined or false. @throws DeadlineError */
export async function pollUntil<T>(
  what: string,
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  options: { timeoutMs: number; intervalMs?: number; clock?: Clock; signal?: AbortSignal },
): Promise<T> {
  const clock = options.clock ?? systemClock;
  const end = clock.monotonic() + options.timeoutMs;
  for (;;) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    if (clock.monotonic() >= end) throw new DeadlineError(`${what} did not happen within ${options.timeoutMs} ms`);
    await clock.sleep(options.intervalMs ?? 25, options.signal);
  }
}
