import type { ApiObject } from '../../../api/index.ts';
import { type Clock, KeyedQueue } from '../../../async/index.ts';
import { type ApiClient, type EventRecorder, isConflict, isNotFound } from '../../../client/index.ts';
import type { Logger } from '../../../log/index.ts';
import type { Informers } from './informers.ts';
import type { Store } from './store.ts';

/** What a controller works with. */
export interface ControllerContext {
  client: ApiClient;
  informers: Informers;
  log: Logger;
  clock: Clock;
  /** The recorder of events that speaks in the controller's name. */
  events(component: string): EventRecorder;
}

/** A running controller. */
export interface Controller {
  stop(): Promise<void>;
}

/** A queue of a controller: its name for the log, whose caches it waits for, and what it does with a key. */
export interface ControllerQueueOptions {
  name: string;
  stores: readonly Store<any>[];
  /** Keys at work at once. Default 4. */
  concurrency?: number;
  handle(key: string, signal: AbortSignal): Promise<void>;
}

/** Makes a queue whose handlers run only once the caches hold everything. Conflicts and lost races are retried silently. */
export function createControllerQueue(context: ControllerContext, options: ControllerQueueOptions): KeyedQueue {
  let synced = false;
  const allSynced = Promise.all(options.stores.map((store) => store.informer.synced)).then(() => {
    synced = true;
  });
  return new KeyedQueue(
    async (key, signal) => {
      if (!synced) await Promise.race([allSynced, aborted(signal)]);
      if (!signal.aborted) await options.handle(key, signal);
    },
    {
      concurrency: options.concurrency ?? 4,
      clock: context.clock,
      onError: (key, error) => {
        const expected = isConflict(error) || isNotFound(error);
        context.log[expected ? 'debug' : 'warn']('sync failed', { controller: options.name, key, error });
      },
    },
  );
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Ties subscriptions and queues together as a controller. */
export function controllerOfParts(queues: readonly KeyedQueue[], unsubscribe: readonly (() => void)[]): Controller {
  return {
    stop: async () => {
      for (const end of unsubscribe) end();
      await Promise.all(queues.map((queue) => queue.stop()));
    },
  };
}

/** Whether two JSON values are the same, whatever the order of their keys. Undefined members count as absent. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  if (Array.isArray(a))
    return a.length === (b as unknown[]).length && a.every((one, i) => sameJson(one, (b as unknown[])[i]));
  const left = a as Record<string, unknown>;
  const right = b as Record<string, unknown>;
  for (const key of new Set([...Object.keys(left), ...Object.keys(right)])) {
    if (!sameJson(left[key], right[key])) return false;
  }
  return true;
}

/** A Time of the API: RFC 3339 in whole seconds. */
export function apiTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}

/** Milliseconds since 1970 of a Time of the API; 0 for none. */
export function timeMs(time: string | undefined): number {
  return time ? Date.parse(time) : 0;
}

/** The reference that makes `owner` the controller of an object. */
export function controllerReference(owner: ApiObject, apiVersion: string, kind: string) {
  return {
    apiVersion,
    kind,
    name: owner.metadata.name,
    uid: owner.metadata.uid,
    controller: true,
    blockOwnerDeletion: true,
  };
}
