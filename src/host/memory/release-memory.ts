import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { results } from '../system-calls/index.ts';
import { releaseProgramPages } from './program-pages.ts';

let collect: (() => void) | undefined;

/**
 * Gives back to the machine what this process had to take for a burst of work: garbage is collected, what the C library
 * keeps of freed memory is returned, and pages of the program that only the burst needed are let go. Takes some tens of milliseconds; for quiet moments.
 */
export function releaseMemory(): void {
  if (!collect) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  collect();
  results.mallocTrim(0);
  releaseProgramPages();
}
