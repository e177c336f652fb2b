import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { results } from '../system-calls/index.ts';

const [lockExclusive, dontWait] = [2, 4];

/** A lock that this process has until it releases it or ends, however it ends. */
export interface FileLock {
  release(): void;
}

/** A lock that another process has. */
export class LockTakenError extends Error {
  /** Who has it, as far as it said so. */
  readonly owner: number | undefined;
  constructor(path: string, owner: number | undefined) {
    super(`${path} is locked by ${owner ? `process ${owner}` : 'another process'}`);
    this.owner = owner;
  }
}

/** Takes the lock of a file, making the file if need be. @throws LockTakenError */
export function lockFile(path: string): FileLock {
  const file = openSync(path, 'a+', 0o600);
  if (results.flock(file, lockExclusive | dontWait) !== 0) {
    closeSync(file);
    throw new LockTakenError(path, Number(readFileSync(path, 'utf8')) || undefined);
  }
  ftruncateSync(file);
  writeSync(file, String(process.pid));
  return { release: () => closeSync(file) };
}
