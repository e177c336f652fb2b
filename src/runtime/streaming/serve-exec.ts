import type { ExecRequest } from '../../api/cri/index.ts';
import { launchProgram } from '../../host/exec/index.ts';
import { openTerminal } from '../../host/sockets/index.ts';
import { type ExitStatus, type RemoteCommand, serveRemoteCommand } from '../../wire/streams/index.ts';
import { execFailure, type PreparedExec, prepareExec } from '../containers/exec.ts';
import type { RuntimeContext } from '../context.ts';
import { messageOf } from '../errors.ts';
import type { Connection } from './streaming-server.ts';

/** Runs a command in a container with its input and output at the client. It ends when the client goes. */
export async function serveExec(
  context: RuntimeContext,
  request: ExecRequest,
  { request: http, socket, head }: Connection,
): Promise<void> {
  const { stdin, stdout, stderr, tty, cmd } = request;
  const remote = await serveRemoteCommand(http, socket, head, { stdin, stdout, stderr, tty, clock: context.clock });
  if (!remote) return;
  try {
    const record = context.store.containers.get(request.containerId);
    await using exec = await prepareExec(context, record, { command: cmd, terminal: tty });
    const onGone = (): void => void exec.kill();
    remote.signal.addEventListener('abort', onGone, { once: true });
    await remote.exit(await (tty ? runOnTerminal(exec, remote) : runOnPipes(exec, remote)));
  } catch (cause) {
    await remote.exit({ error: messageOf(cause) });
  }
}

async function runOnPipes(exec: PreparedExec, remote: RemoteCommand): Promise<ExitStatus> {
  const program = launchProgram(exec.argv, { stdio: [remote.stdin ? 'pipe' : 'ignore', 'pipe', 'pipe'] });
  if (remote.stdin && program.stdin) remote.stdin.pipe(program.stdin);
  let said = '';
  program.stderr?.on('data', (part: Buffer) => {
    if (said.length < 4096) said += part.toString('utf8');
  });
  const { stdout, stderr } = program;
  if (remote.stdout) stdout?.pipe(remote.stdout, { end: false });
  else stdout?.resume();
  if (remote.stderr) stderr?.pipe(remote.stderr, { end: false });
  const { status, error } = await program.ended;
  if (error) return { error: `cannot run the OCI runtime: ${error.message}` };
  if (status !== 0 && (await exec.pid()) === undefined) return { error: execFailure(said).message };
  return { code: status };
}

/** A terminal of ours, to which the OCI runtime passes on what is on the container's own. */
async function runOnTerminal(exec: PreparedExec, remote: RemoteCommand): Promise<ExitStatus> {
  const terminal = openTerminal();
  try {
    const { programFd } = terminal;
    const program = launchProgram(exec.argv, { stdio: [programFd, programFd, programFd], detached: true });
    terminal.closeProgramSide();
    remote.onResize(({ width, height }) => {
      terminal.resize(height, width);
      program.kill('SIGWINCH');
    });
    remote.stdin?.pipe(terminal.input, { end: false });
    let said = '';
    terminal.output.on('data', (part: Buffer) => {
      if (said.length < 4096) said += part.toString('utf8');
    });
    if (remote.stdout) terminal.output.pipe(remote.stdout, { end: false });
    const outputRead = new Promise<void>((resolve) => terminal.output.once('close', resolve));
    const { status, error } = await program.ended;
    if (error) return { error: `cannot run the OCI runtime: ${error.message}` };
    await outputRead;
    if (status !== 0 && (await exec.pid()) === undefined) return { error: execFailure(said).message };
    return { code: status };
  } finally {
    terminal.close();
  }
}
