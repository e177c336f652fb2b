import { AsyncLocalStorage } from 'node:async_hooks';
import type { Clock } from '../../async/index.ts';

/** A named part of a call, from when to when; times are `Clock.now()`, milliseconds. */
export interface Stage {
  name: string;
  /** What it works on: a path, an image, another call (told anew whenever it is asked). */
  subject: string | (() => string);
  startedAtMs: number;
  endedAtMs?: number;
}

/** A call of the CRI as it goes on. Its work may go on after its caller was answered or has gone. */
export class Call {
  readonly method: string;
  /** What the call is about: `pod default/web`, a container's id. */
  readonly subject: string;
  readonly startedAtMs: number;
  readonly stages: Stage[] = [];
  /** Nobody waits for the answer any more. */
  abandoned = false;
  endedAtMs: number | undefined;
  readonly clock: Clock;

  constructor(method: string, subject: string, clock: Clock) {
    this.method = method;
    this.subject = subject;
    this.clock = clock;
    this.startedAtMs = clock.now();
  }

  get ageMs(): number {
    return (this.endedAtMs ?? this.clock.now()) - this.startedAtMs;
  }

  /** The stages that have not ended, the innermost last. */
  get open(): Stage[] {
    return this.stages.filter(({ endedAtMs }) => endedAtMs === undefined);
  }

  /** Where it is now: `waiting 95 s for stat /mnt/x`. */
  where(): string {
    const last = this.open.at(-1);
    if (!last) return `at it for ${seconds(this.ageMs)}`;
    return `waiting ${seconds(this.clock.now() - last.startedAtMs)} for ${stageText(last)}`;
  }

  toString(): string {
    return this.subject ? `${this.method} of ${this.subject}` : this.method;
  }
}

/** `12 s`, `0.3 s`. */
export function seconds(milliseconds: number): string {
  const value = Math.max(0, milliseconds) / 1000;
  return `${value >= 10 ? Math.round(value) : Math.round(value * 10) / 10} s`;
}

/** A stage in words. */
export function stageText({ name, subject }: Stage): string {
  const about = typeof subject === 'function' ? subject() : subject;
  return about ? `${name} ${about}` : name;
}

const storage = new AsyncLocalStorage<Call>();

/** The call that the code runs for, however deep; undefined in background work. */
export function currentCall(): Call | undefined {
  return storage.getStore();
}

/** Runs work as part of a call. */
export function withinCall<T>(call: Call, work: () => T): T {
  return storage.run(call, work);
}

/**
 * Runs a step of a call under a name, so that whoever asks why the call takes long can be told. Names are constant,
 * as they are labels of metrics; what the step works on goes into `subject`.
 */
export async function stage<T>(name: string, work: () => Promise<T> | T, subject: Stage['subject'] = ''): Promise<T> {
  const call = storage.getStore();
  if (!call) return work();
  const entry: Stage = { name, subject, startedAtMs: call.clock.now() };
  call.stages.push(entry);
  try {
    return await work();
  } finally {
    entry.endedAtMs = call.clock.now();
  }
}
