import { readFileSync } from 'node:fs';
import { results } from '../system-calls/index.ts';

/** MADV_DONTNEED of madvise(2). */
const dontNeed = 4;

/** A range of this process's memory. */
export interface MemoryRange {
  start: bigint;
  length: bigint;
}

/**
 * Reads proc_pid_smaps(5) for the ranges that only show files as they are: mapped without the right to write, and without a page
 * of their own. (What the dynamic linker has relocated is read-only as well, but changed, and would be lost.)
 */
export function unchangedFilePages(smaps: string): MemoryRange[] {
  const ranges: MemoryRange[] = [];
  let candidate: MemoryRange | undefined;
  for (const line of smaps.split('\n')) {
    const [, from, to, rights, path] = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+\s+(\/.*)?$/.exec(line) ?? [];
    if (from && to) {
      const start = BigInt(`0x${from}`);
      const isFixed = path !== undefined && rights?.[0] === 'r' && rights[1] === '-' && rights[3] === 'p';
      candidate = isFixed ? { start, length: BigInt(`0x${to}`) - start } : undefined;
    } else if (candidate && /^Anonymous:\s+0 kB/.test(line)) {
      ranges.push(candidate);
      candidate = undefined;
    }
  }
  return ranges;
}

/**
 * Lets go of the pages of the program and its libraries. The start touches most of Node's, and the kernel maps their
 * neighbours along with them; what goes on being used is mapped again as it is used, from the page cache, without reading a disk.
 */
export function releaseProgramPages(): void {
  for (const { start, length } of unchangedFilePages(readFileSync('/proc/self/smaps', 'utf8')))
    results.madvise(start, length, dontNeed);
}
