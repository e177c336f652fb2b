import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Makes the kernel ready to move processes between cgroups.
 *
 * The first such move after a quiet time waits for an RCU grace period (8 to 25 ms), those soon after it do not: the
 * kernel's lock stays prepared for about another grace period. An OCI runtime makes its first move 15 ms after it was
 * started, so the wait can be over by then if somebody begins it now. Putting this process where it is already changes
 * nothing and begins it. On kernels whose cgroups are mounted with `favordynmods` there is no wait, and this costs
 * microseconds.
 */
export class AttachWindow {
  readonly #file: string | undefined;
  #opening: Promise<void> | undefined;

  /** @param mounts controller → directory of its tree, as of a CgroupTree */
  constructor(mounts: ReadonlyMap<string, string>) {
    this.#file = ownProcsFile(mounts);
  }

  /** Begins the wait, on a thread of its own; never throws, and one at a time is enough. */
  open(): void {
    if (!this.#file || this.#opening) return;
    this.#opening = writeFile(this.#file, String(process.pid))
      .catch(() => {
        // Not ours to write (a cgroup namespace, a read-only tree): then the first move waits, as it would have.
      })
      .finally(() => {
        this.#opening = undefined;
      });
  }
}

/** The cgroup.procs of the cgroup in which this process is, in some tree. */
function ownProcsFile(mounts: ReadonlyMap<string, string>): string | undefined {
  for (const line of readFileSync('/proc/self/cgroup', 'utf8').split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    const mount = controllers === undefined ? undefined : mounts.get(controllers === '' ? 'unified' : controllers);
    if (mount && path) return join(mount, path, 'cgroup.procs');
  }
  return undefined;
}
