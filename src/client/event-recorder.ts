import { createHash } from 'node:crypto';
import { type ApiObject, type ObjectReference, resources } from '../api/index.ts';
import { type Clock, SerialRunner, systemClock, TokenBucket } from '../async/index.ts';
import type { Logger } from '../log/index.ts';
import type { ApiClient } from './api-client.ts';
import { isNotFound } from './api-error.ts';

/** Writes Events about objects. */
export interface EventRecorder {
  /** Notes an event; returns at once. The same event again counts up instead of making a new object. */
  event(
    about: ApiObject | ObjectReference,
    type: 'Normal' | 'Warning',
    reason: string,
    message: string,
    annotations?: Record<string, string>,
  ): void;
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
  /** Events of all objects a second, and in a burst. Default: no limit. */
  rate?: { perSecond: number; burst: number };
}

/** Events that wait for their turn; more are lost, the newest first. */
const mostWaiting = 1000;

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
  return new ApiEventRecorder(client, options);
}

/** One event on its way. */
interface Note {
  reference: ObjectReference;
  type: 'Normal' | 'Warning';
  reason: string;
  message: string;
  /** What makes two events the same. */
  key: string;
  atMs: number;
  annotations?: Record<string, string>;
}

class ApiEventRecorder implements EventRecorder {
  readonly #client: ApiClient;
  readonly #options: EventRecorderOptions;
  readonly #clock: Clock;
  readonly #known = new Map<string, Known>();
  readonly #runner = new SerialRunner();
  readonly #spam: SpamFilter;
  readonly #bucket: TokenBucket | undefined;
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(client: ApiClient, options: EventRecorderOptions) {
    this.#client = client;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#spam = new SpamFilter(options.burst ?? 25, this.#clock);
    this.#bucket = options.rate && new TokenBucket({ ...options.rate, clock: this.#clock });
  }

  event(
    about: ApiObject | ObjectReference,
    type: 'Normal' | 'Warning',
    reason: string,
    message: string,
    annotations?: Record<string, string>,
  ): void {
    const reference = toReference(about);
    const subject = `${reference.kind}/${reference.namespace ?? ''}/${reference.name}/${reference.uid ?? ''}`;
    if (!this.#spam.allows(subject)) return;
    const key = [subject, reference.fieldPath ?? '', type, reason, message].join('\0');
    const note: Note = { reference, type, reason, message: message.slice(0, 1024), key, atMs: this.#clock.now() };
    if (annotations) note.annotations = annotations;
    if (this.#waiting >= mostWaiting) return this.#options.log?.debug('event lost: too many wait', { reason });
    this.#waiting++;
    this.#last = this.#runner
      .run(subject, () => this.#write(note))
      .finally(() => this.#waiting--)
      .catch((error: unknown) => this.#options.log?.debug('event lost', { reason, error }));
  }

  async flush(): Promise<void> {
    await this.#last;
  }

  /** Counts an event up when it is known, else makes it. */
  async #write(note: Note): Promise<void> {
    await this.#bucket?.take();
    const before = this.#known.get(note.key);
    if (!before || note.atMs - before.at >= seriesMs) return this.#create(note);
    before.count++;
    before.at = note.atMs;
    const patch = { count: before.count, lastTimestamp: seconds(note.atMs), message: note.message };
    try {
      await this.#client.patch(resources.events, before.name, patch, { namespace: before.namespace, type: 'merge' });
    } catch (error) {
      if (!isNotFound(error)) throw error;
      await this.#create(note);
    }
  }

  async #create({ reference, type, reason, message, key, atMs, annotations }: Note): Promise<void> {
    const { component, host } = this.#options;
    const namespace = reference.namespace || 'default';
    const digest = createHash('sha1').update(key).digest('hex').slice(0, 6);
    const name = `${reference.name}.${atMs.toString(16)}${digest}`;
    const event = {
      metadata: { name, namespace, ...(annotations ? { annotations } : {}) },
      involvedObject: reference,
      type,
      reason,
      message,
      source: { component, ...(host ? { host } : {}) },
      reportingComponent: component,
      reportingInstance: host ?? '',
      firstTimestamp: seconds(atMs),
      lastTimestamp: seconds(atMs),
      count: 1,
    };
    await this.#client.create(resources.events, event, { namespace });
    this.#known.set(key, { name, namespace, count: 1, at: atMs });
    if (this.#known.size > 4096) this.#known.delete(this.#known.keys().next().value!);
  }
}

/** A time of the API: RFC 3339 in whole seconds. */
function seconds(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
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
