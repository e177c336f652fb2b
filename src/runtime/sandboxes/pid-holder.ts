import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { identifyProcess, type ProcessIdentity, signalProcess } from '../../host/exec/index.ts';
import { writeHolderProgram } from '../../host/namespaces/index.ts';
import type { RuntimeContext } from '../context.ts';
import { RuntimeError } from '../errors.ts';
import type { SandboxRecord } from '../store/sandbox-record.ts';

/** The program that is PID 1 of shared PID namespaces, written if it is not there. */
export const holderProgram = ({ settings }: RuntimeContext): string => writeHolderProgram(join(settings.root, 'bin'));

/** The cgroup of a sandbox's holder: beside those of the containers, so that their limits do not concern it. */
export const holderCgroup = ({ cgroupParent, id }: SandboxRecord): string =>
  join(cgroupParent, `holder-${id.slice(0, 12)}`);

/**
 * Notes a holder that has just started and waits for us, on disk too: from here on, whoever undoes the sandbox finds it. It
 * is put in its cgroup meanwhile, for which the kernel may take 20 ms that nobody needs to wait.
 */
export async function takeHolder(context: RuntimeContext, record: SandboxRecord, pid: number): Promise<void> {
  const identity = identifyProcess(pid);
  if (!identity) throw new RuntimeError('UNKNOWN', 'the holder of the PID namespace ended at once');
  record.holder = identity;
  const cgroup = holderCgroup(record);
  context.cgroups.create(cgroup);
  await context.store.sandboxes.put(record);
  void context.cgroups.add(cgroup, pid).catch((error: unknown) => {
    if (context.store.sandboxes.find(record.id)?.holder === identity)
      context.log.warn('the holder of a PID namespace could not be put in its cgroup', { id: record.id, error });
  });
  writeFileSync(`/proc/${pid}/oom_score_adj`, String(Math.max(0, context.kernel.ownOomScoreAdj)));
}

/** Ends the holder, and with it everything in its PID namespace. */
export function stopPidHolder(holder: ProcessIdentity | undefined): void {
  if (holder) signalProcess(holder, 'SIGKILL');
}
