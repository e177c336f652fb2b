import { createHash } from 'node:crypto';
import { type ApiObject, type ObjectReference, resources } from '../api/index.ts';
import { type Clock, SerialRunner, systemClock } from '../async/index.ts';
import type { Logger } from '../log/index.ts';
import type { ApiClient } from './api-client.ts';
import { isNotFound } from './api-error.ts';

/** Writes Events about objects. */
export interface EventRecorder {
  /** Notes an event; returns at once. The same event again counts up instead of making a new object. */
  event(about: ApiObject | ObjectReference, type: 'Normal' | 'Warning', reason: string, message: string): void;
  /** Waits until everything noted so far is written (or lost). */
  flush(): Promise<void>;
}

/** Who speaks, and how much. */
export interface EventRecorderOptions {
  /** `kubelet`, `default-scheduler` … */
  component: string;
  /** The node, for components of one. */
  host?: string;
  log?: Logger;
  clock?: Clock;
  /** Events about one object in a burst; after that one every five minutes, as upstream's spam filter. Default 25. */
  burst?: number;
}

interface Known {
  name: string;
  namespace: string;
  count: number;
  at: number;
}

/** How long an event counts up the same object, milliseconds. */
const seriesMs = 10 * 60_000;

/** Makes a recorder. Events are written in order, one object at a time; a failing API server loses them, not the caller. */
export function createEventRecorder(client: ApiClient, options: EventRecorderOptions): EventRecorder {
  const clock = options.clock ?? systemClock;
  const known = new Map<string, Known>();
  const runner = new SerialRunner();
  const spam = new SpamFilter(options.burst ?? 25, clock);
  let last: Promise<unknown> = Promise.resolve();

  const write = async (
    reference: ObjectReference,
    type: string,
    reason: string,
    message: string,
    key: string,
    nowMs: number,
  ): Promise<void> => {
    const now = new Date(nowMs).toISOString().replace(/\.\d+Z$/, 'Z');
    const before = known.get(key);
    if (before && nowMs - before.at < seriesMs) {
      before.count++;
      before.at = nowMs;
      try {
        await client.patch(
          resources.events,
          before.name,
          { count: before.count, lastTimestamp: now, message },
          { namespace: before.namespace, type: 'merge' },
        );
        return;
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
    const namespace = reference.namespace || 'default';
    const name = `${reference.name}.${nowMs.toString(16)}${createHash('sha1').update(key).digest('hex').slice(0, 6)}`;
    await client.create(
      resources.events,
      {
        metadata: { name, namespace },
        involvedObject: reference,
        type,
        reason,
        message,
        source: { component: options.component, ...(options.host ? { host: options.host } : {}) },
        reportingComponent: options.component,
        reportingInstance: options.host ?? '',
        firstTimestamp: now,
        lastTimestamp: now,
        count: 1,
      },
      { namespace },
    );
    known.set(key, { name, namespace, count: 1, at: nowMs });
    if (known.size > 4096) known.delete(known.keys().next().value!);
  };

  return {
    event(about, type, reason, message) {
      const reference = toReference(about);
      const subject = `${reference.kind}/${reference.namespace ?? ''}/${reference.name}/${reference.uid ?? ''}`;
      if (!spam.allows(subject)) return;
      const key = [subject, reference.fieldPath ?? '', type, reason, message].join('\0');
      const nowMs = clock.now();
      last = runner
        .run(subject, () => write(reference, type, reason, message.slice(0, 1024), key, nowMs))
        .catch((error: unknown) => options.log?.debug('event lost', { reason, error }));
    },
    flush: async () => void (await last),
  };
}

/** A token bucket per object: `burst` at once, one more every five minutes. */
class SpamFilter {
  readonly #burst: number;
  readonly #clock: Clock;
  readonly #buckets = new Map<string, { tokens: number; at: number }>();

  constructor(burst: number, clock: Clock) {
    this.#burst = burst;
    this.#clock = clock;
  }
  allows(subject: string): boolean {
    const now = this.#clock.monotonic();
    const bucket = this.#buckets.get(subject) ?? { tokens: this.#burst, at: now };
    bucket.tokens = Math.min(this.#burst, bucket.tokens + (now - bucket.at) / 300_000);
    bucket.at = now;
    this.#buckets.delete(subject);
    this.#buckets.set(subject, bucket);
    if (this.#buckets.size > 4096) this.#buckets.delete(this.#buckets.keys().next().value!);
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }
}

/** A reference to an object, or the reference itself. */
export function toReference(about: ApiObject | ObjectReference): ObjectReference {
  if (!('metadata' in about)) return about;
  const { apiVersion, kind, metadata } = about;
  return {
    ...(apiVersion ? { apiVersion } : {}),
    ...(kind ? { kind } : {}),
    name: metadata.name,
    ...(metadata.namespace ? { namespace: metadata.namespace } : {}),
    ...(metadata.uid ? { uid: metadata.uid } : {}),
    ...(metadata.resourceVersion ? { resourceVersion: metadata.resourceVersion } : {}),
  };
}
