import { readFileSync } from 'node:fs';
import { identifyProcess, type ProcessIdentity } from '../../../host/exec/index.ts';
import type { ContainerRecord } from '../../store/container-record.ts';

/** The first process of a container, with what the engine does not tell of it. */
export interface RunningProcess extends Pick<ContainerRecord, 'user' | 'cgroupPath'> {
  process: ProcessIdentity;
}

/** What a process that has just started is: which, whose, and in which cgroup. Undefined when it has ended. */
export function describeProcess(pid: number): RunningProcess | undefined {
  try {
    const process = identifyProcess(pid);
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const cgroups = readFileSync(`/proc/${pid}/cgroup`, 'utf8');
    if (!process) return undefined;
    const numbers = (name: string): number[] =>
      (new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '').split(/\s+/).filter(Boolean).map(Number);
    return {
      process,
      cgroupPath: cgroupOf(cgroups),
      user: { uid: numbers('Uid')[0] ?? 0, gid: numbers('Gid')[0] ?? 0, groups: numbers('Groups') },
    };
  } catch {
    return undefined;
  }
}

/** The path in the hierarchy of memory where there is one (cgroup v1), else in the unified one. */
function cgroupOf(text: string): string {
  const lines = text.split('\n').map((line) => line.split(':'));
  const found =
    lines.find(([, names]) => names?.split(',').includes('memory')) ?? lines.find(([number]) => number === '0');
  return found?.slice(2).join(':') ?? '';
}
