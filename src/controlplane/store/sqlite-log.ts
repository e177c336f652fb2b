import { closeSync, existsSync, mkdirSync, openSync, readSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { LogContents, LogRow, LogStore } from './log-store.ts';
import { StoreError } from './store-error.ts';

/** Marks our files ("deck"), so that another program's database is not taken for one. */
const applicationId = 0x6465636b;
/** The version of the layout below. */
export const layoutVersion = 1;

/** SQLITE_IOERR_SHMSIZE */
const ioErrorSharedMemorySize = 4874;

const layout = `
CREATE TABLE log (
  revision INTEGER PRIMARY KEY,
  resource TEXT NOT NULL,
  namespace TEXT NOT NULL,
  name TEXT NOT NULL,
  previous INTEGER NOT NULL,
  deleted INTEGER NOT NULL,
  at INTEGER NOT NULL,
  value BLOB NOT NULL
) STRICT;
CREATE TABLE marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
INSERT INTO marks VALUES ('compacted', 0);
`;

/**
 * Opens (or makes) a log in an SQLite file: write-ahead log, one transaction per append, fsync before it counts.
 * A file that is damaged, foreign, newer or in use is left as it is.
 * @throws StoreError CORRUPT, NEWER, IN_USE, FULL, IO
 */
export function openSqliteLog(file: string): LogStore {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const fresh = !existsSync(file) || (statSync(file).size === 0 && !existsSync(`${file}-wal`));
  const inspected = fresh || inspect(file);
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file);
    database.exec('PRAGMA locking_mode=EXCLUSIVE');
    if (!inspected) checkContents(database, file);
    if (fresh) create(database);
    database.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA journal_size_limit=16777216');
    database.exec('PRAGMA cache_size=-2000; PRAGMA temp_store=MEMORY');
    // Takes the lock now rather than at the first write.
    database.exec('BEGIN IMMEDIATE; COMMIT');
    return new SqliteLog(database, file);
  } catch (error) {
    database?.close();
    throw toStoreError(error, file);
  }
}

function create(database: DatabaseSync): void {
  database.exec('PRAGMA auto_vacuum=INCREMENTAL');
  database.exec(
    `BEGIN; PRAGMA application_id=${applicationId}; PRAGMA user_version=${layoutVersion}; ${layout} COMMIT`,
  );
}

/**
 * Looks at an existing file without writing to it. False when the disk is so full that this is not possible (a reader beside
 * the write-ahead log needs a little file of its own).
 */
function inspect(file: string): boolean {
  const header = Buffer.alloc(100);
  const descriptor = openSync(file, 'r');
  try {
    readSync(descriptor, header, 0, 100, 0);
  } finally {
    closeSync(descriptor);
  }
  if (header.toString('latin1', 0, 16) !== 'SQLite format 3\0') {
    throw new StoreError(
      'CORRUPT',
      `${file} is damaged or no database: move it away to start empty, or restore a copy`,
    );
  }
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file, { readOnly: true });
    checkContents(database, file);
    return true;
  } catch (error) {
    if ((error as { errcode?: number }).errcode === ioErrorSharedMemorySize) return false;
    throw toStoreError(error, file);
  } finally {
    database?.close();
  }
}

/** Whole, ours, and of a version that we know. */
function checkContents(database: DatabaseSync, file: string): void {
  const pragma = (name: string) => Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
  const verdict = pragma('quick_check');
  if (verdict !== 'ok') {
    const what = String(verdict).split('\n')[0];
    throw new StoreError('CORRUPT', `${file} is damaged (${what}): restore a copy or move it away`);
  }
  if (pragma('application_id') !== applicationId) {
    throw new StoreError('CORRUPT', `${file} is a database of another program`);
  }
  const version = Number(pragma('user_version'));
  if (version > layoutVersion) {
    throw new StoreError(
      'NEWER',
      `${file} was written by a newer version (layout ${version}, this one knows ${layoutVersion}): use that version`,
    );
  }
}

class SqliteLog implements LogStore {
  readonly #database: DatabaseSync;
  readonly #file: string;
  readonly #insert: StatementSync;
  readonly #remove: StatementSync;
  readonly #mark: StatementSync;
  #relaxed = false;
  #closed = false;

  constructor(database: DatabaseSync, file: string) {
    this.#database = database;
    this.#file = file;
    this.#insert = database.prepare('INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?)');
    this.#remove = database.prepare('DELETE FROM log WHERE revision = ?');
    this.#mark = database.prepare("UPDATE marks SET value = ? WHERE name = 'compacted'");
  }

  load(): LogContents {
    try {
      const mark = this.#database.prepare("SELECT value FROM marks WHERE name = 'compacted'").get();
      const rows = this.#database.prepare('SELECT * FROM log ORDER BY revision').iterate();
      return { compacted: Number(mark?.['value'] ?? 0), rows: this.#readRows(rows) };
    } catch (error) {
      throw toStoreError(error, this.#file);
    }
  }

  *#readRows(rows: Iterable<Record<string, unknown>>): Iterable<LogRow> {
    for (const row of rows) {
      const value = row['value'] as Uint8Array;
      yield {
        revision: row['revision'] as number,
        resource: row['resource'] as string,
        namespace: row['namespace'] as string,
        name: row['name'] as string,
        previous: row['previous'] as number,
        deleted: row['deleted'] === 1,
        at: row['at'] as number,
        value: Buffer.from(value.buffer, value.byteOffset, value.byteLength),
      };
    }
  }

  append(rows: readonly LogRow[], relaxed: boolean): void {
    if (relaxed !== this.#relaxed) {
      this.#database.exec(`PRAGMA synchronous=${relaxed ? 'NORMAL' : 'FULL'}`);
      this.#relaxed = relaxed;
    }
    this.#transact(() => {
      for (const row of rows) {
        this.#insert.run(
          row.revision,
          row.resource,
          row.namespace,
          row.name,
          row.previous,
          row.deleted ? 1 : 0,
          row.at,
          row.value,
        );
      }
    });
  }

  compact(revisions: readonly number[], compacted: number): void {
    this.#transact(() => {
      for (const revision of revisions) this.#remove.run(revision);
      this.#mark.run(compacted);
    });
    this.#database.exec('PRAGMA incremental_vacuum(256)');
  }

  #transact(work: () => void): void {
    try {
      this.#database.exec('BEGIN');
      work();
      this.#database.exec('COMMIT');
    } catch (error) {
      if (!this.#closed && this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw toStoreError(error, this.#file);
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#database.close();
  }
}

/** Classifies SQLite's errors by its result codes. */
function toStoreError(error: unknown, file: string): StoreError {
  if (error instanceof StoreError) return error;
  const extended = Number((error as { errcode?: number }).errcode ?? 0);
  // No room for the shared-memory file is no room on the disk.
  const code = extended === ioErrorSharedMemorySize ? 13 : extended & 0xff;
  const cause = { cause: error };
  const text = error instanceof Error ? error.message : String(error);
  switch (code) {
    case 5:
    case 6:
      return new StoreError(
        'IN_USE',
        `${file} is in use by another process: stop it, or choose another data directory`,
        cause,
      );
    case 11:
    case 26:
      return new StoreError('CORRUPT', `${file} is damaged (${text}): restore a copy or move it away`, cause);
    case 13:
      return new StoreError('FULL', `no space left on the disk of ${file}`, cause);
    default:
      return new StoreError('IO', `cannot use ${file}: ${text}`, cause);
  }
}
