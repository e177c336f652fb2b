import type { ExecSyncRequest } from '../../api/cri/index.ts';
import { faultPoint } from '../../async/index.ts';
import { runProgram } from '../../host/exec/index.ts';
import { execFailure, prepareExec } from '../containers/exec.ts';
import type { RuntimeContext } from '../context.ts';
import { RuntimeError } from '../errors.ts';

/** ExecSync: runs a command in a container and gives its output; one that takes too long is killed. */
export async function execSync(context: RuntimeContext, request: ExecSyncRequest, signal: AbortSignal) {
  const record = context.store.containers.get(request.containerId);
  await using exec = await prepareExec(context, record, { command: request.cmd, terminal: false });
  const result = await runProgram(exec.argv, {
    timeoutMs: Number(request.timeout) * 1000,
    clock: context.clock,
    signal,
    onAbort: (pid) => void endExec(exec.kill, pid),
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

async function endExec(kill: () => Promise<void>, runtimePid: number): Promise<void> {
  await kill();
  try {
    process.kill(runtimePid, 'SIGKILL');
  } catch {
    // It ended with its command.
  }
}
