import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import { joinStreams } from './join-streams.ts';
import { tunnelProtocol } from './port-forward.ts';
import { type RemoteCommandOptions, serveRemoteCommand } from './remote-command.ts';
import { dialSpdy, openRemoteCommand, type RemoteProcess, type StreamTarget } from './stream-client.ts';
import { refuseUpgrade } from './upgrade-response.ts';
import { acceptWebSocket } from './web-socket-channels.ts';

/**
 * Serves an exec or attach here, in any dialect, and carries it to a server that speaks only SPDY. For runtimes that
 * know no v5 WebSockets. Resolves when both ends are closed.
 */
export async function translateRemoteCommand(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  target: StreamTarget,
  options: RemoteCommandOptions,
): Promise<void> {
  let remote: RemoteProcess;
  try {
    remote = await openRemoteCommand(target, options);
  } catch (error) {
    return refuseUpgrade(socket, 502, error instanceof Error ? error.message : String(error));
  }
  const command = await serveRemoteCommand(request, socket, head, options);
  if (!command) return remote.close();
  command.signal.addEventListener('abort', () => remote.close(), { once: true });
  command.onResize((size) => remote.resize(size));
  if (remote.stdin) command.stdin?.pipe(remote.stdin);
  const outputs = (['stdout', 'stderr'] as const).map(async (name) => {
    const [from, to] = [remote[name], command[name]];
    if (!from || !to) return;
    from.pipe(to, { end: false });
    await finished(from, { writable: false }).catch(() => {});
  });
  const status = await remote.status;
  await Promise.all(outputs);
  await command.exit(status);
  remote.close();
}

/**
 * Carries a port-forward whose client puts SPDY into WebSocket messages to a server that takes SPDY only: the bytes are
 * the same, only the wrapping goes.
 */
export async function translatePortForward(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  target: StreamTarget,
): Promise<void> {
  let upstream: Awaited<ReturnType<typeof dialSpdy>>;
  try {
    upstream = await dialSpdy(target, ['portforward.k8s.io']);
  } catch (error) {
    return refuseUpgrade(socket, 502, error instanceof Error ? error.message : String(error));
  }
  const accepted = await acceptWebSocket(request, socket, head, [tunnelProtocol]);
  if (!accepted) return void upstream.socket.destroy();
  const { createWebSocketStream } = await import('ws');
  const downstream = createWebSocketStream(accepted.webSocket);
  if (upstream.head.length > 0) downstream.write(upstream.head);
  await joinStreams(downstream, upstream.socket);
}
