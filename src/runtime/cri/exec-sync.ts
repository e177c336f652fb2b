import type { ExecSyncRequest } from '../../api/cri/index.ts';
import { faultPoint } from '../../async/index.ts';
import { killTree, runProgram } from '../../host/exec/index.ts';
import { execFailure, type PreparedExec, prepareExec } from '../containers/exec.ts';
import type { RuntimeContext } from '../context.ts';
import { RuntimeError } from '../errors.ts';

/** How long the OCI runtime has to end after the command that it waits for was killed, milliseconds. */
const graceMs = 2_000;

/** ExecSync: runs a command in a container and gives its output; one that takes too long is killed. */
export async function execSync(context: RuntimeContext, request: ExecSyncRequest, signal: AbortSignal) {
  const record = context.store.containers.get(request.containerId);
  await using exec = await prepareExec(context, record, { command: request.cmd, terminal: false });
  let ended = false;
  const result = await runProgram(exec.argv, {
    timeoutMs: Number(request.timeout) * 1000,
    clock: context.clock,
    signal,
    onAbort: (pid) => void endExec(context, exec, { pid, ended: () => ended }),
  }).finally(() => {
    ended = true;
  });
  await faultPoint('exec:ended');
  if (result.timedOut || signal.aborted)
    throw new RuntimeError(
      'DEADLINE_EXCEEDED',
      `command ${JSON.stringify(request.cmd)} timed out: context deadline exceeded`,
    );
  if (result.status !== 0 && (await exec.pid()) === undefined) throw execFailure(result.stderr.toString('utf8'));
  return { stdout: result.stdout, stderr: result.stderr, exitCode: result.status };
}

/**
 * Ends a command. The OCI runtime, its parent, ends by itself then: killed at once it could not wait for the command, which
 * would stay as a zombie until somebody else does.
 */
async function endExec(
  context: RuntimeContext,
  exec: PreparedExec,
  runtime: { pid: number; ended: () => boolean },
): Promise<void> {
  if ((await exec.pid()) === undefined) return killTree(runtime.pid);
  await exec.kill();
  context.clock.after(graceMs, () => {
    if (!runtime.ended()) killTree(runtime.pid);
  });
}
