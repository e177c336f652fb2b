import { writeFileSync } from 'node:fs';
import { calls, hasErrno } from '../system-calls/index.ts';

/** RLIMIT_NOFILE */
const openFiles = 7;

/** The limit of open files of this process, before and after. */
export interface OpenFileLimit {
  before: number;
  now: number;
}

/**
 * Sets how many files this process may have open. Without the right to raise the limit it stays at the greatest that is
 * allowed, which the result tells.
 */
export function setOpenFileLimit(wanted: number): OpenFileLimit {
  const known = new BigUint64Array(2);
  calls.getrlimit(openFiles, bytesOf(known));
  const [soft = 0n, hard = 0n] = known;
  const before = Number(soft);
  try {
    calls.setrlimit(openFiles, bytesOf(new BigUint64Array([BigInt(wanted), BigInt(wanted)])));
    return { before, now: wanted };
  } catch (error) {
    if (!hasErrno(error, 'EPERM')) throw error;
    const least = BigInt(wanted) < hard ? BigInt(wanted) : hard;
    calls.setrlimit(openFiles, bytesOf(new BigUint64Array([least, hard])));
    return { before, now: Number(least) };
  }
}

/** Sets the oom_score_adj of this process; false when that is not allowed. */
export function setOwnOomScore(score: number): boolean {
  try {
    writeFileSync('/proc/self/oom_score_adj', String(score));
    return true;
  } catch (error) {
    if (['EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
    throw error;
  }
}

const bytesOf = (numbers: BigUint64Array): Uint8Array => new Uint8Array(numbers.buffer);
