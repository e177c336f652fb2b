import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, describe, it } from 'node:test';
import { FakeClock } from '../../async/index.ts';
import { createMemoryLog, openSqliteLog, Store, StoreError } from './index.ts';
import { describeStore } from './store.suite.ts';

const directory = mkdtempSync(join(tmpdir(), 'deckhand-store-'));
after(() => rmSync(directory, { recursive: true, force: true }));
let count = 0;
let file = '';

describeStore('a store in memory', createMemoryLog);
describeStore(
  'a store in a file',
  () => openSqliteLog((file = join(directory, `${++count}.db`))),
  () => openSqliteLog(file),
);

describe('a file that cannot be used', () => {
  const make = async (name: string): Promise<string> => {
    const path = join(directory, name);
    const store = new Store({ log: openSqliteLog(path), clock: new FakeClock(1) });
    const filler = 'x'.repeat(3000);
    await Promise.all(
      Array.from({ length: 200 }, (_, index) =>
        store.write({ resource: 'r', namespace: '', name: `n${index}`, expect: 0, object: { metadata: {}, filler } }),
      ),
    );
    store.close();
    return path;
  };
  const refuses = (path: string, code: string) => {
    const before = readFileSync(path);
    assert.throws(
      () => openSqliteLog(path),
      (error) => error instanceof StoreError && error.code === code && error.message.includes(path),
    );
    assert.ok(readFileSync(path).equals(before), 'the file was touched');
  };

  it('is refused untouched when its tail is torn off', async () => {
    const path = await make('torn.db');
    truncateSync(path, 100_000);
    refuses(path, 'CORRUPT');
  });
  it('is refused untouched when its header is garbage, or it is no database', async () => {
    const path = join(directory, 'garbage.db');
    writeFileSync(path, 'not a database, just text '.repeat(100));
    refuses(path, 'CORRUPT');
  });
  it('is refused untouched when pages in the middle are overwritten', async () => {
    const path = await make('scribbled.db');
    const bytes = readFileSync(path);
    bytes.fill(0xa5, 8192, 24576);
    writeFileSync(path, bytes);
    refuses(path, 'CORRUPT');
  });
  it('is refused untouched when a newer version wrote it', async () => {
    const path = await make('newer.db');
    const database = new DatabaseSync(path);
    database.exec('PRAGMA user_version=99');
    database.close();
    refuses(path, 'NEWER');
  });
  it('is refused untouched when another program made it', () => {
    const path = join(directory, 'foreign.db');
    const database = new DatabaseSync(path);
    database.exec('CREATE TABLE mine (a)');
    database.close();
    refuses(path, 'CORRUPT');
  });
  it('is refused while another server has it open', async () => {
    const path = await make('shared.db');
    const log = openSqliteLog(path);
    assert.throws(
      () => openSqliteLog(path),
      (error) => error instanceof StoreError && error.code === 'IN_USE',
    );
    log.close();
    openSqliteLog(path).close();
  });
});
