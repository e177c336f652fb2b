import { type Pod, type PodStatus, resources } from '../../api/index.ts';
import { Backoff, type Clock } from '../../async/index.ts';
import { type ApiClient, isConflict, isNotFound } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';
import { statusPatch } from './status-patch.ts';

/** Which object a status belongs to. */
export interface StatusTarget {
  namespace: string;
  name: string;
  uid: string;
}

interface Entry {
  target: StatusTarget;
  desired: PodStatus;
  /** The status as the API has it, as far as known. */
  known: PodStatus | undefined;
  resourceVersion: string;
  writing: boolean;
  /** The object is not there any more: nothing to write. */
  gone: boolean;
  /** The patch that was last taken: when the same is still wanted then, the API does not take it. */
  taken: string;
  retryAt: number;
  /** Since when something waits to be written, on the monotonic clock. */
  dirtySince?: number;
  waiters: (() => void)[];
}

/**
 * Writes the statuses of pods to the API, at once.
 *
 * Invariants: one request in flight for a pod; while it is, only the latest status waits; only what differs from what
 * the API has is sent; a failed write is tried again until it succeeds or the object is gone.
 */
export class StatusWriter {
  readonly #client: ApiClient | undefined;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #entries = new Map<string, Entry>();
  readonly #backoff: Backoff;
  readonly #onWritten: (uid: string, status: PodStatus, afterMs: number) => void;
  #stopped = false;

  constructor(options: {
    /** Without one nothing is written. */
    client: ApiClient | undefined;
    clock: Clock;
    log: Logger;
    /** Told after each write: the uid, the status as the API has it now, and the milliseconds since it changed. */
    onWritten?: (uid: string, status: PodStatus, afterMs: number) => void;
  }) {
    this.#client = options.client;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#backoff = new Backoff({ initialMs: 100, maximumMs: 10_000 }, options.clock);
    this.#onWritten = options.onWritten ?? (() => {});
  }

  /** Takes the status that the object is to have. */
  set(target: StatusTarget, status: PodStatus): void {
    if (!this.#client) return;
    const entry = this.#entries.get(target.uid) ?? this.#create(target, status);
    entry.desired = status;
    this.#write(entry);
  }

  /** Takes note of the object as the API has it; what differs from what is wanted is written again. */
  observe(pod: Pod): void {
    const { namespace = '', name = '', uid = '', resourceVersion = '' } = pod.metadata;
    const entry = this.#entries.get(uid) ?? this.#create({ namespace, name, uid }, pod.status ?? {});
    if (!isNewer(resourceVersion, entry.resourceVersion)) return;
    entry.resourceVersion = resourceVersion;
    entry.known = pod.status ?? {};
    entry.taken = '';
    this.#write(entry);
  }

  /** Resolves when the API has the status that was last set, or the object is gone. */
  async written(uid: string): Promise<void> {
    const entry = this.#entries.get(uid);
    if (!entry || this.#isWritten(entry)) return;
    await new Promise<void>((resolve) => entry.waiters.push(resolve));
  }

  /** The status as the API has it, as far as known. */
  known(uid: string): PodStatus | undefined {
    return this.#entries.get(uid)?.known;
  }

  /** The object has been deleted. */
  forget(uid: string): void {
    const entry = this.#entries.get(uid);
    if (!entry) return;
    this.#entries.delete(uid);
    entry.gone = true;
    this.#settle(entry);
  }

  /** Writes nothing more. */
  stop(): void {
    this.#stopped = true;
    for (const entry of this.#entries.values()) this.#settle(entry);
  }

  #create(target: StatusTarget, status: PodStatus): Entry {
    const entry: Entry = {
      target,
      desired: status,
      known: undefined,
      resourceVersion: '',
      writing: false,
      gone: false,
      taken: '',
      retryAt: 0,
      waiters: [],
    };
    this.#entries.set(target.uid, entry);
    return entry;
  }

  #isWritten(entry: Entry): boolean {
    return entry.gone || this.#stopped || (!entry.writing && this.#patchOf(entry) === undefined);
  }

  /** What is to be sent; nothing when the API has just taken the very same without effect (it drops what it does not know). */
  #patchOf(entry: Entry): Record<string, unknown> | undefined {
    const patch = statusPatch(entry.known, entry.desired);
    return patch && JSON.stringify(patch) !== entry.taken ? patch : undefined;
  }

  #write(entry: Entry): void {
    if (entry.writing || this.#stopped || entry.gone) return;
    const patch = this.#patchOf(entry);
    if (!patch) return this.#settle(entry);
    entry.dirtySince ??= this.#clock.monotonic();
    if (this.#clock.monotonic() < entry.retryAt) return;
    entry.writing = true;
    void this.#send(entry, patch);
  }

  async #send(entry: Entry, status: object): Promise<void> {
    const { namespace, name, uid } = entry.target;
    const body = { metadata: { uid }, status };
    try {
      const pod = await this.#client!.patch(resources.pods, name, body, {
        namespace,
        type: 'strategic',
        subresource: 'status',
      });
      entry.known = pod.status ?? {};
      entry.resourceVersion = pod.metadata.resourceVersion ?? entry.resourceVersion;
      this.#backoff.reset(uid);
      entry.writing = false;
      entry.taken = JSON.stringify(status);
      const since = entry.dirtySince ?? this.#clock.monotonic();
      delete entry.dirtySince;
      this.#onWritten(uid, entry.known, this.#clock.monotonic() - since);
    } catch (error) {
      entry.writing = false;
      if (isNotFound(error) || isConflict(error)) {
        // Deleted, or another pod of the same name: not ours to write to.
        entry.gone = isNotFound(error) || !(await this.#exists(entry));
      }
      if (!entry.gone) this.#retry(entry, error);
    }
    if (entry.gone) this.#settle(entry);
    else this.#write(entry);
  }

  /** After a conflict: whether the object is still the one we mean. */
  async #exists(entry: Entry): Promise<boolean> {
    const { namespace, name, uid } = entry.target;
    try {
      const pod = await this.#client!.get(resources.pods, name, { namespace });
      if (pod.metadata.uid !== uid) return false;
      entry.known = pod.status ?? {};
      return true;
    } catch (error) {
      return !isNotFound(error);
    }
  }

  #retry(entry: Entry, error: unknown): void {
    const delayMs = this.#backoff.next(entry.target.uid);
    entry.retryAt = this.#clock.monotonic() + delayMs;
    if (delayMs >= 800)
      this.#log.warn('cannot write a pod status', { pod: `${entry.target.namespace}/${entry.target.name}`, error });
    this.#clock.after(delayMs + 1, () => this.#write(entry));
  }

  #settle(entry: Entry): void {
    for (const resolve of entry.waiters.splice(0)) resolve();
  }
}

/** Resource versions of one object grow; those that are no numbers are all taken for new. */
function isNewer(version: string, than: string): boolean {
  if (!/^\d+$/.test(version) || !/^\d+$/.test(than)) return true;
  return BigInt(version) > BigInt(than);
}
