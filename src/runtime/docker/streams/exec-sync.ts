import { finished } from 'node:stream/promises';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ExecSyncRequest, ExecSyncResponseSchema } from '../../../api/cri/index.ts';
import { maxMessageBytes } from '../../../wire/grpc/index.ts';
import { execFailure } from '../../containers/exec.ts';
import { fit } from '../../cri/exec-sync.ts';
import { invalid, notInState, RuntimeError } from '../../errors.ts';
import type { DockerContext } from '../docker-context.ts';
import { FrameReader } from '../engine/index.ts';
import { startExec } from './engine-exec.ts';

/** Both outputs have to fit into one message, which no client takes any longer. */
const maximumOutputBytes = maxMessageBytes - 4096;

/** ExecSync: runs a command and gives its output; one that takes too long is gone with all that it started. */
export async function execSync(
  context: DockerContext,
  request: ExecSyncRequest,
  signal: AbortSignal,
): Promise<MessageInitShape<typeof ExecSyncResponseSchema>> {
  const record = context.store.containers.get(request.containerId);
  if (record.phase.name !== 'running') throw notInState(`container "${record.id}" is not running`);
  if (request.cmd.length === 0) throw invalid('no command is given');
  if (request.timeout < 0n) throw invalid(`the timeout of a command is ${request.timeout} s: must be 0 or more`);
  const exec = await startExec(context, record, {
    ...{ command: request.cmd, tty: false, stdin: false, stdout: true, stderr: true },
  });
  const output = new Output();
  exec.socket.on('data', (chunk: Buffer) => output.add(chunk));
  if (exec.head.length > 0) output.add(exec.head);
  const reason = await untilOver(context, exec.socket, Number(request.timeout) * 1000, signal);
  if (reason) {
    await exec.kill();
    const text =
      reason === 'late'
        ? `timed out: timeout ${request.timeout}s exceeded: context deadline exceeded`
        : 'was ended: the caller is gone';
    throw new RuntimeError('DEADLINE_EXCEEDED', `command ${JSON.stringify(request.cmd)} ${text}`);
  }
  const { exitCode, started } = await exec.result();
  const [stdout, stderr] = output.take();
  if (!started && exitCode !== 0) throw execFailure(`${stderr}${stdout}`);
  return { stdout, stderr, exitCode };
}

/** Why a command has to be ended, or undefined when it has ended by itself. */
async function untilOver(
  { clock }: DockerContext,
  socket: NodeJS.ReadableStream,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<'late' | 'gone' | undefined> {
  const over = Promise.withResolvers<'late' | 'gone' | undefined>();
  const timer = timeoutMs > 0 ? clock.after(timeoutMs, () => over.resolve('late')) : undefined;
  const onAbort = (): void => over.resolve('gone');
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  finished(socket, { writable: false }).then(
    () => over.resolve(undefined),
    () => over.resolve(undefined),
  );
  try {
    return await over.promise;
  } finally {
    timer?.cancel();
    signal.removeEventListener('abort', onAbort);
  }
}

/** Output as it comes; beyond what an answer can hold it is dropped. */
class Output {
  readonly #frames = new FrameReader();
  readonly #kept: Record<'stdout' | 'stderr', Buffer[]> = { stdout: [], stderr: [] };
  readonly #bytes = { stdout: 0, stderr: 0 };

  add(chunk: Buffer): void {
    for (const { stream, data } of this.#frames.push(chunk)) {
      const to = stream === 'stderr' ? 'stderr' : 'stdout';
      const part = data.subarray(0, maximumOutputBytes - this.#bytes[to]);
      this.#bytes[to] += part.length;
      if (part.length > 0) this.#kept[to].push(Buffer.from(part));
    }
  }

  take(): [Buffer, Buffer] {
    return fit(Buffer.concat(this.#kept.stdout), Buffer.concat(this.#kept.stderr), maximumOutputBytes);
  }
}
