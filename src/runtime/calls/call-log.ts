import type { Clock } from '../../async/index.ts';
import { RuntimeError } from '../errors.ts';
import { Call, stageText, withinCall } from './call.ts';

/** Slow calls that are remembered after their end. */
const rememberedCalls = 20;
/** From how long on a call that has ended is worth remembering, milliseconds. */
const slowMs = 1000;

/** What a caller is, to the log. */
export interface Caller {
  signal: AbortSignal;
  /** When the caller stops waiting, `Clock.now()`; undefined when never. */
  deadlineMs?: number;
}

/** The calls that are going on, and the slow ones of the past. */
export class CallLog {
  readonly #clock: Clock;
  readonly #open = new Set<Call>();
  readonly #slow: Call[] = [];
  readonly #listeners = new Set<(call: Call, failed: boolean) => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Called at the end of every call, with whether it failed. */
  onEnd(listener: (call: Call, failed: boolean) => void): void {
    this.#listeners.add(listener);
  }

  /** The calls that have not ended, the oldest first. */
  list(): Call[] {
    return [...this.#open];
  }

  /**
   * Runs a call. Shortly before its caller stops waiting, the caller is told what the call waits for; the work goes on.
   * unless it heeds the caller's signal, which aborts then. @throws RuntimeError DEADLINE_EXCEEDED
   */
  async run<C extends Caller, T>(
    method: string,
    subject: string,
    caller: C,
    work: (caller: C) => Promise<T> | T,
  ): Promise<T> {
    const call = new Call(method, subject, this.#clock);
    this.#open.add(call);
    caller.signal.addEventListener(
      'abort',
      () => {
        call.abandoned = true;
      },
      { once: true },
    );
    if (caller.deadlineMs === undefined) return this.#follow(call, () => work(caller));
    const late = new AbortController();
    const signal = AbortSignal.any([caller.signal, late.signal]);
    const result = this.#follow(call, () => work({ ...caller, signal }));
    return this.#untilDeadline(call, result, caller.deadlineMs, late);
  }

  async #follow<T>(call: Call, work: () => Promise<T> | T): Promise<T> {
    let failed = true;
    try {
      const result = await withinCall(call, work);
      failed = false;
      return result;
    } finally {
      this.#open.delete(call);
      call.endedAtMs = this.#clock.now();
      if (call.ageMs >= slowMs) {
        this.#slow.push(call);
        if (this.#slow.length > rememberedCalls) this.#slow.shift();
      }
      for (const listener of this.#listeners) listener(call, failed);
    }
  }

  async #untilDeadline<T>(call: Call, result: Promise<T>, deadlineMs: number, ends: AbortController): Promise<T> {
    const patience = Math.max(0, deadlineMs - this.#clock.now());
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = this.#clock.after(patience - Math.min(500, patience / 10), () => {
      call.abandoned = true;
      const error = new RuntimeError('DEADLINE_EXCEEDED', `${call} is not done: ${call.where()}`);
      reject(error);
      ends.abort(error);
    });
    try {
      return await Promise.race([result, late]);
    } finally {
      timer.cancel();
      result.catch(() => {});
    }
  }

  /** What goes on and what was slow, for people. */
  describe(): { inFlight: object[]; slow: object[] } {
    return { inFlight: this.list().map(describeCall), slow: this.#slow.map(describeCall) };
  }
}

function describeCall(call: Call): object {
  return {
    call: String(call),
    startedAt: new Date(call.startedAtMs).toISOString(),
    milliseconds: Math.round(call.ageMs),
    ...(call.endedAtMs === undefined ? { now: call.where() } : {}),
    ...(call.abandoned ? { callerHasGone: true } : {}),
    stages: call.stages.map((stage) => ({
      stage: stageText(stage),
      startedAfterMs: Math.round(stage.startedAtMs - call.startedAtMs),
      milliseconds: Math.round((stage.endedAtMs ?? call.clock.now()) - stage.startedAtMs),
      ...(stage.endedAtMs === undefined ? { ended: false } : {}),
    })),
  };
}
