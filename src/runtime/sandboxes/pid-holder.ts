import { identifyProcess, launchProgram, type ProcessIdentity, signalProcess } from '../../host/exec/index.ts';
import { inNewPidNamespace, pinNamespace } from '../../host/namespaces/index.ts';
import { RuntimeError } from '../errors.ts';

/**
 * Starts the process that keeps a PID namespace shared by a sandbox's containers, and keeps its file at the path.
 * Ignoring SIGCHLD lets the kernel take away what is orphaned inside, so PID 1 has nothing to do but be there; it
 * goes on without us.
 */
export function startPidHolder(path: string): ProcessIdentity {
  const program = inNewPidNamespace(() =>
    launchProgram(['/bin/sh', '-c', "trap '' CHLD HUP INT TERM; exec sleep infinity"], {
      stdio: ['ignore', 'ignore', 'ignore'],
      environment: {},
      cwd: '/',
      detached: true,
    }),
  );
  const identity = program.pid > 0 ? identifyProcess(program.pid) : undefined;
  if (!identity) throw new RuntimeError('UNKNOWN', 'the holder of the PID namespace did not start');
  program.unref();
  pinNamespace(`/proc/${identity.pid}/ns/pid`, path);
  return identity;
}

/** Ends the holder, and with it everything in its PID namespace. */
export function stopPidHolder(holder: ProcessIdentity | undefined): void {
  if (holder) signalProcess(holder, 'SIGKILL');
}
