import type { AttachRequest, ExecRequest } from '../../../api/cri/index.ts';
import { serveRemoteCommand } from '../../../wire/streams/index.ts';
import { execFailure, shellCodeOf } from '../../containers/exec.ts';
import { messageOf } from '../../errors.ts';
import { followSize } from '../../streaming/monitor-streams.ts';
import { servePorts } from '../../streaming/serve-ports.ts';
import { streamTimeouts } from '../../streaming/stream-timeouts.ts';
import type { Connection, StreamRequest } from '../../streaming/streaming-server.ts';
import type { DockerContext } from '../docker-context.ts';
import { carry } from './carry.ts';
import { startExec } from './engine-exec.ts';

/** Serves one exec, attach or port-forward connection to its end. */
export function serveStream(context: DockerContext, stream: StreamRequest, connection: Connection): Promise<void> {
  switch (stream.kind) {
    case 'exec':
      return serveExec(context, stream.request, connection);
    case 'attach':
      return serveAttach(context, stream.request, connection);
    case 'portforward':
      return servePorts(context, stream.request, connection);
  }
}

/** Runs a command with its input and output at the client; it ends when the client goes before. */
async function serveExec(context: DockerContext, request: ExecRequest, connection: Connection): Promise<void> {
  const { stdin, stdout, stderr, tty, cmd } = request;
  const streams = { stdin, stdout, stderr, tty };
  const options = { ...streams, ...streamTimeouts(context) };
  const remote = await serveRemoteCommand(connection.request, connection.socket, connection.head, options);
  if (!remote) return;
  try {
    const record = context.store.containers.get(request.containerId);
    // Always with its errors: there the OCI runtime says why it could not begin.
    const exec = await startExec(context, record, { command: cmd, ...streams, stdout: true, stderr: true });
    const onGone = (): void => void exec.kill().catch(() => {});
    remote.signal.addEventListener('abort', onGone, { once: true });
    if (remote.signal.aborted) onGone();
    if (tty) followSize(remote, (rows, columns) => exec.resize(rows, columns));
    await carry(exec, remote, tty);
    remote.signal.removeEventListener('abort', onGone);
    if (remote.signal.aborted) return;
    const { exitCode } = await exec.result();
    await remote.exit({ code: exitCode });
  } catch (cause) {
    const { message } = execFailure(messageOf(cause));
    const code = shellCodeOf(message);
    if (code && remote.stderr) remote.stderr.write(`${message}\r\n`);
    await remote.exit(code && remote.stderr ? { code } : { error: messageOf(cause) });
  }
}

/** Connects the client with the first process of a container, which goes on without its clients. */
async function serveAttach(context: DockerContext, request: AttachRequest, connection: Connection): Promise<void> {
  const { stdin, stdout, stderr, tty } = request;
  const options = { stdin, stdout, stderr, tty, ...streamTimeouts(context) };
  const remote = await serveRemoteCommand(connection.request, connection.socket, connection.head, options);
  if (!remote) return;
  try {
    const { id, config } = context.store.containers.get(request.containerId);
    const query = { stream: true, stdin: stdin && config.stdin, stdout, stderr: stderr && !config.tty };
    const attached = await context.engine.hijack(`/containers/${id}/attach`, { query });
    if (config.tty) followSize(remote, (h, w) => context.engine.post(`/containers/${id}/resize`, { query: { h, w } }));
    const { socket } = attached;
    if (remote.stdin && !config.stdin) remote.stdin.resume();
    // A terminal's input has no end of its own: the client has let go.
    if (config.tty) remote.stdin?.once('end', () => socket.destroy());
    await carry(attached, config.stdin ? remote : { ...remote, stdin: undefined as never }, config.tty);
    socket.destroy();
    await remote.exit({ code: 0 });
  } catch (cause) {
    await remote.exit({ error: `failed to attach to container "${request.containerId}": ${messageOf(cause)}` });
  }
}
