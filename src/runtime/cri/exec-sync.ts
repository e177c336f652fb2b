import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ExecSyncRequest, ExecSyncResponseSchema } from '../../api/cri/index.ts';
import { faultPoint } from '../../async/index.ts';
import { runProgram } from '../../host/exec/index.ts';
import { maxMessageBytes } from '../../wire/grpc/index.ts';
import { execFailure, prepareExec, runtimeKilled } from '../containers/exec.ts';
import type { RuntimeContext } from '../context.ts';
import { RuntimeError } from '../errors.ts';

/** Both outputs have to fit into one message, which no client takes any longer. */
const maximumOutputBytes = maxMessageBytes - 4096;

/**
 * ExecSync: runs a command in a container and gives its output; one that takes too long is gone with all that it started
 * when the caller is told. Output beyond what an answer can hold is read and dropped.
 */
export async function execSync(
  context: RuntimeContext,
  request: ExecSyncRequest,
  signal: AbortSignal,
): Promise<MessageInitShape<typeof ExecSyncResponseSchema>> {
  const record = context.store.containers.get(request.containerId);
  const timeoutMs = timeoutOf(request);
  await using exec = await prepareExec(context, record, { command: request.cmd, terminal: false });
  let ended = false;
  const result = await runProgram(exec.argv, {
    ...(timeoutMs > 0 ? { timeoutMs } : {}),
    clock: context.clock,
    signal,
    maximumOutputBytes,
    onAbort: (pid) => void exec.kill({ pid, ended: () => ended }),
  }).finally(() => {
    ended = true;
  });
  await faultPoint('exec:ended');
  if (result.timedOut || signal.aborted)
    throw new RuntimeError(
      'DEADLINE_EXCEEDED',
      result.timedOut
        ? `command ${JSON.stringify(request.cmd)} timed out: timeout ${request.timeout}s exceeded: context deadline exceeded`
        : `command ${JSON.stringify(request.cmd)} was ended: the caller is gone`,
    );
  if (result.signal) {
    await exec.kill({ pid: 0, ended: () => true });
    throw runtimeKilled(result.signal);
  }
  if (result.status !== 0 && !exec.started()) throw execFailure(result.stderr.toString('utf8'));
  const [stdout, stderr] = fit(result.stdout, result.stderr, maximumOutputBytes);
  if (result.truncated || stdout.length < result.stdout.length || stderr.length < result.stderr.length)
    context.log.info('output of a command was too long for an answer and is cut', { id: record.id, cmd: request.cmd });
  return { stdout, stderr, exitCode: result.status };
}

/** Milliseconds; 0 for no limit. @throws RuntimeError INVALID_ARGUMENT */
function timeoutOf({ timeout }: ExecSyncRequest): number {
  if (timeout < 0n)
    throw new RuntimeError('INVALID_ARGUMENT', `the timeout of a command is ${timeout} s: must be 0 or more`);
  return Number(timeout) * 1000;
}

/** Cuts two outputs so that they fit together; the shorter one is cut only if it has more than half. */
export function fit(one: Buffer, other: Buffer, maximum: number): [Buffer, Buffer] {
  const half = maximum >>> 1;
  const first = Math.min(one.length, Math.max(half, maximum - other.length));
  return [one.subarray(0, first), other.subarray(0, maximum - first)];
}
