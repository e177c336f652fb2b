import { type Readable, Transform, type Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { ExecRequest } from '../../api/cri/index.ts';
import { type LaunchedProgram, launchProgram } from '../../host/exec/index.ts';
import {
  type ExitStatus,
  type RemoteCommand,
  serveRemoteCommand,
  type TerminalSize,
} from '../../wire/streams/index.ts';
import { execFailure, type PreparedExec, prepareExec, runtimeKilled, shellCodeOf } from '../containers/exec.ts';
import { startOnTerminal } from '../containers/exec-terminal.ts';
import type { RuntimeContext } from '../context.ts';
import { messageOf } from '../errors.ts';
import { feedMonitor, followSize } from './monitor-streams.ts';
import { StartGate } from './start-gate.ts';
import { streamTimeouts } from './stream-timeouts.ts';
import type { Connection } from './streaming-server.ts';

/** How long the first size of a terminal is waited for, milliseconds. */
const firstSizeMs = 100;

/**
 * Runs a command in a container with its input and output at the client. It ends, with all that it has started, when the
 * client goes before the command has ended by itself.
 */
export async function serveExec(
  context: RuntimeContext,
  request: ExecRequest,
  { request: http, socket, head }: Connection,
): Promise<void> {
  const { stdin, stdout, stderr, tty, cmd } = request;
  const options = { stdin, stdout, stderr, tty, ...streamTimeouts(context) };
  const remote = await serveRemoteCommand(http, socket, head, options);
  if (!remote) return;
  try {
    const record = context.store.containers.get(request.containerId);
    const size = tty ? await firstSize(context, remote) : undefined;
    await using exec = await prepareExec(context, record, { command: cmd, terminal: tty, size });
    if (remote.signal.aborted) return;
    await remote.exit(await (tty ? runOnTerminal : runOnPipes)(context, exec, remote));
  } catch (cause) {
    await remote.exit({ error: messageOf(cause) });
  }
}

/** The size of the client's terminal, which comes right behind the connection; undefined from a client that says none. */
function firstSize(context: RuntimeContext, remote: RemoteCommand): Promise<TerminalSize | undefined> {
  return new Promise((resolve) => {
    const timer = context.clock.after(firstSizeMs, () => resolve(undefined));
    remote.onResize((size) => {
      timer.cancel();
      resolve(size);
    });
  });
}

async function runOnPipes(context: RuntimeContext, exec: PreparedExec, remote: RemoteCommand): Promise<ExitStatus> {
  const program = launchProgram(exec.argv, { stdio: [remote.stdin ? 'pipe' : 'ignore', 'pipe', 'pipe'] });
  endWithClient(exec, remote, program);
  if (remote.stdin && program.stdin) feed(remote.stdin, program.stdin);
  const gate = new StartGate({ started: exec.started, exited: program.exited, clock: context.clock });
  program.stderr?.pipe(gate);
  const outputs = [pass(program.stdout!, remote.stdout, remote.signal), pass(gate, remote.stderr, remote.signal)];
  const end = await program.ended;
  await Promise.all(outputs);
  return statusOf(end, exec, { said: gate.said, errors: remote.stderr });
}

async function runOnTerminal(context: RuntimeContext, exec: PreparedExec, remote: RemoteCommand): Promise<ExitStatus> {
  await using terminal = await startOnTerminal(context, exec, { stdin: remote.stdin !== undefined });
  const { stream, monitor } = terminal;
  onAbort(remote.signal, () => void exec.kill(monitor).catch(() => {}));
  followSize(remote, (rows, columns) => terminal.resize(rows, columns));
  if (remote.stdin) void feedMonitor(remote.stdin, stream, { end: false });
  const output = new Transform({
    writableObjectMode: true,
    transform: (packet: Buffer, _, callback) => callback(null, packet.subarray(1)),
  });
  stream.pipe(output);
  stream.once('close', () => output.end());
  await pass(output, remote.stdout, remote.signal);
  const end = await terminal.ended;
  if (!end) {
    await exec.kill(monitor);
    return { error: runtimeKilled('a signal').message };
  }
  return 'code' in end ? { code: end.code } : notStarted(end.failure, remote.stdout);
}

async function statusOf(
  { status, error, signal }: Awaited<LaunchedProgram['ended']>,
  exec: PreparedExec,
  { said, errors }: { said: string; errors: Writable | undefined },
): Promise<ExitStatus> {
  if (error) return { error: `cannot run the OCI runtime: ${error.message}` };
  if (signal) {
    await exec.kill({ pid: 0, ended: () => true });
    return { error: runtimeKilled(signal).message };
  }
  return status !== 0 && !exec.started() ? notStarted(said, errors) : { code: status };
}

function endWithClient(exec: PreparedExec, remote: RemoteCommand, program: LaunchedProgram): void {
  let ended = false;
  void program.exited.then(() => {
    ended = true;
  });
  onAbort(remote.signal, () => void exec.kill({ pid: program.pid, ended: () => ended }).catch(() => {}));
}

/** Input goes on being read when the command has closed its own, or whatever comes behind it would be stuck. */
function feed(from: Readable, to: Writable): void {
  from.pipe(to);
  to.once('close', () => {
    from.unpipe(to);
    from.resume();
  });
}

/** Copies to the client as fast as that takes it; resolves when all is copied, or dropped because the client is gone. */
async function pass(from: Readable, to: Writable | undefined, signal: AbortSignal): Promise<void> {
  if (to && !signal.aborted) from.pipe(to, { end: false });
  else from.resume();
  onAbort(signal, () => {
    from.unpipe();
    from.resume();
  });
  await finished(from, { writable: false }).catch(() => {});
}

function onAbort(signal: AbortSignal, callback: () => void): void {
  if (signal.aborted) callback();
  else signal.addEventListener('abort', callback, { once: true });
}

/**
 * A command that is not there or cannot be executed ends as it would in a shell: a word on its error output and code 127
 * or 126. Whatever else went wrong is an error of the server.
 */
function notStarted(said: string, errors: Writable | undefined): ExitStatus {
  const { message } = execFailure(said);
  const code = shellCodeOf(message);
  if (!code || !errors) return { error: message };
  errors.write(`${message}\r\n`);
  return { code };
}
