import { existsSync, mkdirSync, readdirSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../async/index.ts';
import { type CgroupTree, processesBelow } from './cgroup-tree.ts';

/**
 * A group of processes inside of a cgroup, in one tree only and without limits of its own: it tells which of the cgroup's
 * processes belong together, whatever they do to their sessions and parents. Limits and accounts stay those of the cgroup.
 */
export interface SubCgroup {
  /** How OCI runtimes are told to put a process there (`exec --cgroup`): `pids:name`, or the name on v2. */
  argument: string;
  /** Ends all of its processes, also ones that fork meanwhile; false when some are left when time is up. */
  kill(options: { clock: Clock; timeoutMs?: number }): Promise<boolean>;
  /** Removes it; processes that are left go on as members of the cgroup around it. Nothing there is no error. */
  release(options: { clock: Clock }): Promise<void>;
}

/** The controller whose tree holds the groups: the one with which processes of a cgroup are counted. */
const controller = 'pids';

/** Makes a group in a cgroup; undefined when this machine has no tree for it or the cgroup is gone. */
export function createSubCgroup(tree: CgroupTree, path: string, name: string): SubCgroup | undefined {
  const parent = tree.directory(controller, path);
  if (!parent || !existsSync(parent)) return undefined;
  mkdirSync(join(parent, name));
  return subCgroup(tree, parent, name);
}

/** The groups in a cgroup whose names begin with a prefix: those of a former run. */
export function findSubCgroups(tree: CgroupTree, path: string, prefix: string): SubCgroup[] {
  const parent = tree.directory(controller, path);
  // Two links are its own: reading the directory, which has many files, is worth it only when there are more.
  if (!parent || (statSync(parent, { throwIfNoEntry: false })?.nlink ?? 0) <= 2) return [];
  return readdirSync(parent, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name.startsWith(prefix))
    .map((entry) => subCgroup(tree, parent, entry.name));
}

function subCgroup(tree: CgroupTree, parent: string, name: string): SubCgroup {
  const directory = join(parent, name);
  return {
    argument: tree.version === 'v2' ? name : `${controller}:${name}`,
    kill: async ({ clock, timeoutMs = 5000 }) => {
      const end = clock.monotonic() + timeoutMs;
      for (let wait = 1; ; wait = Math.min(wait * 2, 50)) {
        const left = processesBelow(directory);
        if (left.length === 0) return true;
        killAll(directory, left);
        if (clock.monotonic() >= end) return false;
        await clock.sleep(wait);
      }
    },
    release: async ({ clock }) => {
      for (let attempt = 0; attempt < 10; attempt++) {
        if (attempt > 0) await clock.sleep(Math.min(2 ** attempt, 100));
        moveAll(processesBelow(directory), parent);
        if (tryRemove(directory)) return;
      }
    },
  };
}

function killAll(directory: string, pids: readonly number[]): void {
  const killFile = join(directory, 'cgroup.kill');
  if (existsSync(killFile)) return writeFileSync(killFile, '1');
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended already.
    }
  }
}

function moveAll(pids: readonly number[], parent: string): void {
  for (const pid of pids) {
    try {
      writeFileSync(join(parent, 'cgroup.procs'), String(pid));
    } catch {
      // It has ended, or the cgroup around takes no processes: then it stays where it is.
    }
  }
}

/** The kernel takes a moment to forget processes that have just ended; groups that the processes made go with it. */
function tryRemove(directory: string): boolean {
  try {
    for (const entry of readdirSync(directory, { withFileTypes: true }))
      if (entry.isDirectory()) tryRemove(join(directory, entry.name));
    rmdirSync(directory);
    return true;
  } catch (cause) {
    return (cause as { code?: string }).code === 'ENOENT';
  }
}
