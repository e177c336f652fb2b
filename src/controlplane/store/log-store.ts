/** One write as it is kept: the row of a log, whose number is the revision. */
export interface LogRow {
  revision: number;
  resource: string;
  namespace: string;
  name: string;
  /** Revision of the row that this one replaces; 0 when the object is new. */
  previous: number;
  /** The row tells of the object's end; the value is what it was last. */
  deleted: boolean;
  /** Milliseconds since 1970. */
  at: number;
  /** The object as JSON. */
  value: Buffer;
}

/** What a log holds when it is opened. */
export interface LogContents {
  /** Changes up to here are no longer all there. */
  compacted: number;
  /** In order of revision. */
  rows: Iterable<LogRow>;
}

/** Where the store's writes are kept. */
export interface LogStore {
  /** Everything that is there; called once, before anything is written. */
  load(): LogContents;
  /** Writes all rows or none, and returns when they are safe. Relaxed rows may be lost when the machine (not the process) dies. @throws StoreError */
  append(rows: readonly LogRow[], relaxed: boolean): void;
  /** Takes rows away and notes up to where. @throws StoreError */
  compact(revisions: readonly number[], compacted: number): void;
  close(): void;
}

/** A log that forgets. */
export function createMemoryLog(): LogStore {
  return { load: () => ({ compacted: 0, rows: [] }), append() {}, compact() {}, close() {} };
}
