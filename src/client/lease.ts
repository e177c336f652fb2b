import { type Lease, resources } from '../api/index.ts';
import { type Clock, systemClock } from '../async/index.ts';
import type { Logger } from '../log/index.ts';
import type { ApiClient } from './api-client.ts';
import { isAlreadyExists, isNotFound } from './api-error.ts';

/** A Lease that is renewed for as long as its holder lives. */
export interface LeaseOptions {
  name: string;
  namespace: string;
  holder: string;
  /** How long the lease holds without renewal, seconds. */
  durationSeconds: number;
  /** Time between renewals, milliseconds. */
  renewMs: number;
  /** Who owns it at the time when it is made. */
  ownerReferences?: () => Lease['metadata']['ownerReferences'] | undefined;
  log?: Logger;
  clock?: Clock;
}

/** Keeps a Lease until the signal aborts. Failures are tried again every second; nothing is thrown. */
export async function keepLease(client: ApiClient, options: LeaseOptions, signal: AbortSignal): Promise<void> {
  const clock = options.clock ?? systemClock;
  while (!signal.aborted) {
    let waitMs = options.renewMs;
    try {
      await renew(client, options, clock, signal);
    } catch (error) {
      if (signal.aborted) return;
      options.log?.debug('lease not renewed', { lease: options.name, error });
      waitMs = Math.min(1_000, options.renewMs);
    }
    await clock.sleep(waitMs, signal).catch(() => {});
  }
}

async function renew(client: ApiClient, options: LeaseOptions, clock: Clock, signal: AbortSignal): Promise<void> {
  const { name, namespace, holder, durationSeconds, ownerReferences } = options;
  const renewTime = microTime(clock.now());
  const spec = { holderIdentity: holder, leaseDurationSeconds: durationSeconds, renewTime };
  try {
    await client.patch(resources.leases, name, { spec }, { namespace, type: 'merge', signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
    const owners = ownerReferences?.();
    try {
      await client.create(
        resources.leases,
        { metadata: { name, namespace, ...(owners ? { ownerReferences: owners } : {}) }, spec },
        { namespace, signal },
      );
    } catch (failure) {
      if (!isAlreadyExists(failure)) throw failure;
    }
  }
}

/** A MicroTime of the API: RFC 3339 with six digits. */
export function microTime(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}
