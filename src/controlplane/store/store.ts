import type { Clock } from '../../async/index.ts';
import { Collection, type StoreChange, type Stored } from './collection.ts';
import type { LogRow, LogStore } from './log-store.ts';
import { StoreError } from './store-error.ts';

/** What a write expects and does. */
export interface StoreWrite {
  resource: string;
  namespace: string;
  name: string;
  /** Revision that the object must have now; 0 that it must not exist. */
  expect: number;
  /** The object to keep; its resourceVersion is set here. With `deleted`, what it was last. */
  object: any;
  deleted?: boolean;
  /** May be lost when the machine dies (heartbeats, events). */
  relaxed?: boolean;
}

/** How the store is opened. */
export interface StoreOptions {
  log: LogStore;
  clock: Clock;
  /** How long changes stay for watchers to resume from. Default 5 minutes. */
  historyMs?: number;
  /** Changes beyond so many bytes are dropped even when younger. Default 32 MiB. */
  historyBytes?: number;
  /** Told of failures that nobody waits for (compaction). */
  onError?: (error: unknown) => void;
}

interface Queued {
  row: LogRow;
  stored: Stored;
  before: Stored | undefined;
  relaxed: boolean;
  resolve: (stored: Stored) => void;
  reject: (error: unknown) => void;
}

/**
 * All objects of the cluster, in memory and in a log: one revision for everything, writes committed in groups (all of one turn
 * of the event loop), changes kept for a while so that watchers can resume.
 *
 * There are two views: what is committed (reads, lists, watches) and the head, which includes the writes waiting for this
 * turn's commit (preconditions are checked there).
 */
export class Store {
  readonly #log: LogStore;
  readonly #clock: Clock;
  readonly #historyMs: number;
  readonly #historyBytes: number;
  readonly #onError: (error: unknown) => void;
  readonly #collections = new Map<string, Collection>();
  #revision = 1;
  #head = 1;
  #compacted = 0;
  #queue: Queued[] = [];
  /** Keys written in this turn: what they will be; undefined once deleted. */
  #pending = new Map<string, Stored | undefined>();
  #history: StoreChange[] = [];
  #historyStart = 0;
  #historySize = 0;
  #scheduled = false;
  #compaction: { cancel(): void } | undefined;
  #closed = false;

  constructor(options: StoreOptions) {
    this.#log = options.log;
    this.#clock = options.clock;
    this.#historyMs = options.historyMs ?? 300_000;
    this.#historyBytes = options.historyBytes ?? 32 * 1024 * 1024;
    this.#onError = options.onError ?? (() => {});
    this.#load();
    this.#planCompaction();
  }

  /** Revision of the last committed change. */
  get revision(): number {
    return this.#revision;
  }
  /** Changes up to and including this revision cannot be resumed from. */
  get compacted(): number {
    return this.#compacted;
  }

  /** The committed objects and changes of one resource. */
  collection(resource: string): Collection {
    let collection = this.#collections.get(resource);
    if (!collection) this.#collections.set(resource, (collection = new Collection(resource)));
    return collection;
  }

  /** The committed object. */
  get(resource: string, namespace: string, name: string): Stored | undefined {
    return this.#collections.get(resource)?.get(namespace, name);
  }

  /** The object as the next write will find it: includes what this turn has written. */
  getHead(resource: string, namespace: string, name: string): Stored | undefined {
    const key = pendingKey(resource, namespace, name);
    return this.#pending.has(key) ? this.#pending.get(key) : this.get(resource, namespace, name);
  }

  /**
   * Writes; resolves when the change is durable and readable.
   * @throws StoreError CONFLICT at once when the expectation does not hold; FULL or IO when the commit fails
   */
  write(write: StoreWrite): Promise<Stored> {
    if (this.#closed) return Promise.reject(new StoreError('CLOSED', 'the store is closed'));
    const { resource, namespace, name } = write;
    const before = this.getHead(resource, namespace, name);
    if ((before?.revision ?? 0) !== write.expect) {
      const subject = `${resource} ${namespace}/${name}`;
      return Promise.reject(
        new StoreError('CONFLICT', `${subject} is at ${before?.revision ?? 0}, not ${write.expect}`),
      );
    }
    const revision = ++this.#head;
    write.object.metadata.resourceVersion = String(revision);
    const bytes = Buffer.from(JSON.stringify(write.object));
    const stored: Stored = { namespace, name, revision, bytes, object: write.object };
    const deleted = write.deleted ?? false;
    this.#pending.set(pendingKey(resource, namespace, name), deleted ? undefined : stored);
    const row: LogRow = {
      revision,
      resource,
      namespace,
      name,
      previous: before?.revision ?? 0,
      deleted,
      at: this.#clock.now(),
      value: bytes,
    };
    return new Promise((resolve, reject) => {
      this.#queue.push({ row, stored, before, relaxed: write.relaxed ?? false, resolve, reject });
      if (this.#scheduled) return;
      this.#scheduled = true;
      setImmediate(() => this.#commit());
    });
  }

  #commit(): void {
    this.#scheduled = false;
    const queue = this.#queue;
    if (queue.length === 0) return;
    this.#queue = [];
    this.#pending = new Map();
    try {
      if (this.#closed) throw new StoreError('CLOSED', 'the store is closed');
      this.#log.append(
        queue.map(({ row }) => row),
        queue.every(({ relaxed }) => relaxed),
      );
    } catch (error) {
      this.#head = this.#revision;
      for (const { reject } of queue) reject(error);
      return;
    }
    this.#revision = queue.at(-1)!.row.revision;
    const touched = new Map<Collection, StoreChange[]>();
    for (const { row, stored, before } of queue) {
      const change = this.#apply(row, stored, before);
      const collection = this.collection(row.resource);
      const changes = touched.get(collection);
      if (changes) changes.push(change);
      else touched.set(collection, [change]);
    }
    for (const { stored, resolve } of queue) resolve(stored);
    for (const [collection, changes] of touched) collection.notify(changes);
    if (this.#historySize > this.#historyBytes * 1.25) this.compact();
  }

  #apply(row: LogRow, stored: Stored, before: Stored | undefined): StoreChange {
    const type = row.deleted ? 'DELETED' : before ? 'MODIFIED' : 'ADDED';
    const change: StoreChange = {
      type,
      revision: row.revision,
      at: row.at,
      resource: row.resource,
      now: stored,
      before,
    };
    this.collection(row.resource).apply(change);
    this.#history.push(change);
    this.#historySize += sizeOf(change);
    return change;
  }

  #load(): void {
    const { compacted, rows } = this.#log.load();
    this.#compacted = compacted;
    this.#revision = Math.max(1, compacted);
    // Rows whose successor is still in the history have to be known although they are no longer current.
    for (const row of rows) {
      const { revision, namespace, name } = row;
      const stored: Stored = { namespace, name, revision, bytes: row.value };
      const before = this.get(row.resource, namespace, name);
      this.#revision = Math.max(this.#revision, revision);
      if (revision > compacted) this.#apply(row, stored, before);
      else if (!row.deleted) this.collection(row.resource).restore(stored);
    }
    this.#head = this.#revision;
  }

  /** Drops the changes that are too old, or too many; their watchers have to list again. */
  compact(): void {
    const oldest = this.#clock.now() - this.#historyMs;
    const gone: number[] = [];
    let at = this.#historyStart;
    let size = this.#historySize;
    let compacted = this.#compacted;
    for (; at < this.#history.length; at++) {
      const change = this.#history[at]!;
      if (change.at > oldest && size <= this.#historyBytes) break;
      if (change.before) gone.push(change.before.revision);
      if (change.type === 'DELETED') gone.push(change.revision);
      size -= sizeOf(change);
      compacted = change.revision;
    }
    if (compacted === this.#compacted) return;
    try {
      this.#log.compact(gone, compacted);
    } catch (error) {
      this.#onError(error);
      return;
    }
    for (let i = this.#historyStart; i < at; i++) {
      const change = this.#history[i]!;
      this.collection(change.resource).forget(change.revision);
    }
    this.#historyStart = at;
    if (at > 4096 && at * 2 > this.#history.length) {
      this.#history = this.#history.slice(at);
      this.#historyStart = 0;
    }
    this.#historySize = size;
    this.#compacted = compacted;
  }

  #planCompaction(): void {
    this.#compaction = this.#clock.after(Math.max(1000, this.#historyMs / 5), () => {
      this.compact();
      if (!this.#closed) this.#planCompaction();
    });
  }

  /** Commits what waits, then lets go of the file. */
  close(): void {
    if (this.#closed) return;
    this.#commit();
    this.#closed = true;
    this.#compaction?.cancel();
    this.#log.close();
  }
}

function pendingKey(resource: string, namespace: string, name: string): string {
  return `${resource}\n${namespace}\n${name}`;
}

/** Bytes that the history keeps alive for this change. */
function sizeOf(change: StoreChange): number {
  return (change.before?.bytes.length ?? 0) + (change.type === 'DELETED' ? change.now.bytes.length : 0) + 200;
}
