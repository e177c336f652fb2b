import { join } from 'node:path';
import { type FileLock, LockTakenError, lockFile } from '../host/files/index.ts';

/** Makes sure that no other runtime works with the same directories. @throws Error naming the directory and who has it */
export function lockDirectories(directories: Readonly<Record<string, string>>): FileLock {
  const locks: FileLock[] = [];
  const release = (): void => {
    for (const lock of locks.splice(0)) lock.release();
  };
  for (const [name, directory] of Object.entries(directories)) {
    try {
      locks.push(lockFile(join(directory, 'lock')));
    } catch (cause) {
      release();
      if (!(cause instanceof LockTakenError)) throw cause;
      const owner = cause.owner ? ` (process ${cause.owner})` : '';
      throw new Error(
        `--${name} ${directory} is used by another runtime${owner}: stop it, or choose another directory`,
        {
          cause,
        },
      );
    }
  }
  return { release };
}
