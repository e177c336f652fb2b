import { existsSync, realpathSync, symlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { identifyProcess, launchProgram, type ProcessIdentity, signalProcess } from '../../host/exec/index.ts';
import { inNewPidNamespace, pinNamespace } from '../../host/namespaces/index.ts';
import { RuntimeError } from '../errors.ts';

/**
 * Starts the process that keeps a PID namespace shared by a sandbox's containers, and keeps its file at the path.
 * Ignoring SIGCHLD lets the kernel take away what is orphaned inside, so PID 1 has nothing to do but be there (the trap
 * of a shell would not do: dash does not hand it on); it goes on without us.
 */
export function startPidHolder(path: string): ProcessIdentity {
  const pause = pauseProgram(join(dirname(path), 'pause'));
  const program = inNewPidNamespace(() =>
    launchProgram(['env', '--ignore-signal=CHLD', pause, 'infinity'], {
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

/**
 * What the holder runs: sleep, by a link of another name, because a container that looks for its own sleeps by name must
 * not find this one. A program of many names (busybox) knows what to do by that name, so it keeps its own.
 */
function pauseProgram(link: string): string {
  const sleep = ['/bin/sleep', '/usr/bin/sleep'].find((path) => existsSync(path)) ?? 'sleep';
  if (sleep === 'sleep' || basename(realpathSync(sleep)) !== 'sleep') return sleep;
  if (!existsSync(link)) symlinkSync(sleep, link);
  return link;
}

/** Ends the holder, and with it everything in its PID namespace. */
export function stopPidHolder(holder: ProcessIdentity | undefined): void {
  if (holder) signalProcess(holder, 'SIGKILL');
}
