import { readdirSync, readFileSync } from 'node:fs';
import type { Clock } from '../../async/index.ts';

/** A process, told apart from a later one with the same number by when it started. */
export interface ProcessIdentity {
  pid: number;
  /** Clock ticks after boot (field 22 of /proc/<pid>/stat). */
  startTime: string;
}

function readStat(pid: number): { state: string; startTime: string } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name, in parentheses, may hold anything: count from behind it.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0] ?? '', startTime: fields[19] ?? '' };
  } catch {
    return undefined;
  }
}

/** The identity of a process that runs; undefined when there is none, or it has ended and waits to be noticed. */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  const stat = readStat(pid);
  return stat && stat.state !== 'Z' && stat.state !== 'X' ? { pid, startTime: stat.startTime } : undefined;
}

/** The processes whose command line has the text in it; its words end with a NUL. */
export function processesNaming(text: string): ProcessIdentity[] {
  return list('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      if (!readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(text)) return [];
    } catch {
      return [];
    }
    return identifyProcess(Number(name)) ?? [];
  });
}

/** Whether exactly this process still runs. */
export function isRunning(identity: ProcessIdentity): boolean {
  return identifyProcess(identity.pid)?.startTime === identity.startTime;
}

/**
 * Whether there may be a process of this number: a look that costs a hundredth of isRunning(). It takes one that has ended
 * and was not waited for, and one that got the number since, for it.
 */
export function mayRun({ pid }: ProcessIdentity): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return (cause as { code?: string }).code !== 'ESRCH';
  }
}

/** Sends a signal, unless the process has ended. Gives whether it was there. */
export function signalProcess(identity: ProcessIdentity, signal: string | number): boolean {
  if (!isRunning(identity)) return false;
  try {
    process.kill(identity.pid, signal as NodeJS.Signals);
    return true;
  } catch (cause) {
    if ((cause as { code?: string }).code === 'ESRCH') return false;
    throw cause;
  }
}

/** A process and all that descend from it, parents first. */
export function descendants(pid: number): number[] {
  const found = [pid];
  for (let at = 0; at < found.length; at++) {
    for (const thread of list(`/proc/${found[at]}/task`)) {
      try {
        const children = readFileSync(`/proc/${found[at]}/task/${thread}/children`, 'utf8');
        found.push(...children.split(' ').filter(Boolean).map(Number));
      } catch {
        // It has just ended.
      }
    }
  }
  return found;
}

/** Kills a process and all that descend from it; those that have ended are no error. */
export function killTree(pid: number): void {
  for (const one of descendants(pid)) {
    try {
      process.kill(one, 'SIGKILL');
    } catch {
      // It has ended already.
    }
  }
}

/** The oom_score_adj of this process: it may not go below without CAP_SYS_RESOURCE. */
export function ownOomScoreAdj(): number {
  return Number(readFileSync('/proc/self/oom_score_adj', 'utf8'));
}

/** Whether this process may lower oom_score_adj below its own. */
export function mayLowerOomScore(): boolean {
  const mask = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`);
  const sysResource = 24n;
  return ((mask >> sysResource) & 1n) === 1n;
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** Looks again for processes that were just being started, this often at most. */
const rounds = 10;

/**
 * Kills every process in whose environment (as it was given at its start) a `NAME=value` stands, until there is none:
 * whoever starts another one hands it on.
 */
export async function killMarked(variable: string, clock: Clock): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const found = list('/proc').filter((name) => /^\d+$/.test(name) && hasVariable(name, variable));
    if (found.length === 0) return;
    for (const pid of found) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // It has ended already.
      }
    }
    await clock.sleep(10);
  }
}

function hasVariable(pid: string, variable: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(variable);
  } catch {
    return false;
  }
}
