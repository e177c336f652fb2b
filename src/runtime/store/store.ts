import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../../log/index.ts';
import { notFound } from '../errors.ts';
import { type ContainerRecord, decodeContainer, encodeContainer } from './container-record.ts';
import { readRecords, removeTree, writeAtomically } from './json-file.ts';
import { decodeSandbox, encodeSandbox, type SandboxRecord } from './sandbox-record.ts';

/**
 * Records in memory and on disk: `<directory>/<id>/<file>`, one directory per object.
 *
 * Invariants: what get() and list() give is what disk holds or is about to hold; writes of one record never overtake
 * each other.
 */
export class RecordStore<T extends { id: string }> {
  readonly #kind: 'sandbox' | 'container';
  readonly #directory: string;
  readonly #encode: (record: T) => string;
  readonly #records = new Map<string, T>();
  readonly #writes = new Map<string, Promise<void>>();

  constructor(kind: 'sandbox' | 'container', directory: string, encode: (record: T) => string) {
    this.#kind = kind;
    this.#directory = directory;
    this.#encode = encode;
  }

  /** The record of an id or of a prefix that only one id has. @throws RuntimeError NOT_FOUND */
  get(idOrPrefix: string): T {
    const record = this.find(idOrPrefix);
    if (!record) throw notFound(this.#kind, idOrPrefix);
    return record;
  }

  /** Like get(), undefined when there is none or when several match. */
  find(idOrPrefix: string): T | undefined {
    const exact = this.#records.get(idOrPrefix);
    if (exact || idOrPrefix === '') return exact;
    const matches = [...this.#records.values()].filter(({ id }) => id.startsWith(idOrPrefix));
    return matches.length === 1 ? matches[0] : undefined;
  }

  list(): T[] {
    return [...this.#records.values()];
  }

  /** Takes over what was read from disk. */
  adopt(record: T): void {
    this.#records.set(record.id, record);
  }

  /** Keeps the record, on disk too when it resolves. */
  async put(record: T): Promise<void> {
    const known = this.#records.has(record.id);
    this.#records.set(record.id, record);
    const before = this.#writes.get(record.id);
    const write = async (): Promise<void> => {
      await before?.catch(() => {});
      // The newest content at the time of writing; a record that was deleted meanwhile stays deleted.
      const now = this.#records.get(record.id);
      if (!now) return;
      if (!known) await mkdir(join(this.#directory, record.id), { recursive: true });
      await writeAtomically(join(this.#directory, record.id, `${this.#kind}.json`), this.#encode(now));
    };
    const done = write();
    this.#writes.set(record.id, done);
    try {
      await done;
    } finally {
      if (this.#writes.get(record.id) === done) this.#writes.delete(record.id);
    }
  }

  /** Changes some of a record. */
  async update(id: string, changes: Partial<T>): Promise<T> {
    const record = this.#records.get(id);
    if (!record) throw notFound(this.#kind, id);
    Object.assign(record, changes);
    await this.put(record);
    return record;
  }

  /**
   * Changes some of a record that has changed in fact, whether or not the disk takes it (it may be full). Gives what kept
   * it from being written: then only memory knows, and the next run has to find it out from what is there.
   */
  async note(id: string, changes: Partial<T>): Promise<unknown> {
    try {
      await this.update(id, changes);
      return undefined;
    } catch (error) {
      if (!this.#records.has(id)) throw error;
      return error;
    }
  }

  /** Forgets the record, on disk too. */
  async delete(id: string): Promise<void> {
    this.#records.delete(id);
    await this.#writes.get(id)?.catch(() => {});
    await removeTree(join(this.#directory, id));
  }
}

/** All that the runtime remembers. */
export interface Store {
  sandboxes: RecordStore<SandboxRecord>;
  containers: RecordStore<ContainerRecord>;
}

const sandboxDirectory = (root: string): string => join(root, 'sandboxes');

/** Where a sandbox's record is, and with it the files that its containers see. */
export function sandboxRecordDirectory(root: string, id: string): string {
  return join(sandboxDirectory(root), id);
}

/**
 * Opens the records below a directory. Broken ones are told and stay; a directory without one is of a creation or a
 * removal that was cut off, and goes.
 */
export async function openStore(root: string, log: Logger): Promise<Store> {
  const [sandboxPath, containerPath] = [sandboxDirectory(root), join(root, 'containers')];
  await Promise.all([sandboxPath, containerPath].map((path) => mkdir(path, { recursive: true })));
  const store: Store = {
    sandboxes: new RecordStore('sandbox', sandboxPath, encodeSandbox),
    containers: new RecordStore('container', containerPath, encodeContainer),
  };
  const onBroken = (id: string, error: unknown): void => log.warn('record cannot be read', { id, error });
  const [sandboxes, containers] = await Promise.all([
    readRecords(sandboxPath, 'sandbox.json', decodeSandbox, onBroken),
    readRecords(containerPath, 'container.json', decodeContainer, onBroken),
  ]);
  for (const record of sandboxes) store.sandboxes.adopt(record);
  for (const record of containers) store.containers.adopt(record);
  return store;
}
