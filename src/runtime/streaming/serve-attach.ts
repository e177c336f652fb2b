import { join } from 'node:path';
import type { AttachRequest } from '../../api/cri/index.ts';
import { connectPacketSocket, type DescriptorStream } from '../../host/sockets/index.ts';
import { type RemoteCommand, serveRemoteCommand } from '../../wire/streams/index.ts';
import { conmonFiles, resizeLine, sendControl } from '../containers/conmon.ts';
import type { RuntimeContext } from '../context.ts';
import { messageOf } from '../errors.ts';
import type { ContainerRecord } from '../store/container-record.ts';
import { keepOpen, takeKept } from './kept-monitors.ts';
import { feedMonitor, followSize } from './monitor-streams.ts';
import { streamTimeouts } from './stream-timeouts.ts';
import type { Connection } from './streaming-server.ts';

/** Packets from conmon begin with what they are. */
const [outputPacket, errorPacket] = [2, 3];

/** Output that may wait for one client, and for all together, bytes. */
const largestBacklog = { client: 8 << 20, all: 64 << 20 };

/** Clients that are attached now, to any container. */
let clients = 0;

const backlogLimit = (): number => Math.min(largestBacklog.client, largestBacklog.all / clients);

/**
 * Connects the client with the first process of a container, through its monitor; ends when either side goes. The
 * container goes on without its clients.
 *
 * conmon waits for whoever is connected to it, and with it would wait the container's output and log. So everything is
 * read at once, and a client that is too far behind is told so and dropped.
 */
export async function serveAttach(
  context: RuntimeContext,
  request: AttachRequest,
  { request: http, socket, head }: Connection,
): Promise<void> {
  const { stdin, stdout, stderr, tty } = request;
  const options = { stdin, stdout, stderr, tty, ...streamTimeouts(context) };
  const remote = await serveRemoteCommand(http, socket, head, options);
  if (!remote) return;
  try {
    const record = context.store.containers.get(request.containerId);
    const path = join(context.paths.bundle(record.id), conmonFiles.attach);
    const monitor = takeKept(record.id) ?? (await connectPacketSocket(path, { clock: context.clock }));
    clients++;
    await attach(context, record, remote, monitor).finally(() => clients--);
  } catch (cause) {
    await remote.exit({ error: `failed to attach to container "${request.containerId}": ${messageOf(cause)}` });
  }
}

async function attach(
  context: RuntimeContext,
  record: ContainerRecord,
  remote: RemoteCommand,
  monitor: DescriptorStream,
): Promise<void> {
  const { id, config } = record;
  const bundle = context.paths.bundle(id);
  if (config.tty) followSize(remote, (rows, columns) => sendControl(bundle, resizeLine(rows, columns)));
  const over = Promise.withResolvers<'ended' | 'gone' | 'slow'>();
  if (remote.stdin && !config.stdin) remote.stdin.resume();
  else if (remote.stdin)
    void feedMonitor(remote.stdin, monitor, { end: config.stdinOnce }).then(() => {
      // A terminal's input has no end of its own: the client has let go (clients have keys for it). Others wait for what
      // comes of their input.
      if (config.tty) over.resolve('gone');
    });
  const onPacket = (packet: Buffer): void => {
    const target = packet[0] === outputPacket ? remote.stdout : packet[0] === errorPacket ? remote.stderr : undefined;
    if (!target || target.writableEnded) return;
    target.write(packet.subarray(1));
    if (target.writableLength > backlogLimit()) over.resolve('slow');
  };
  const onClose = (): void => over.resolve('ended');
  monitor.on('data', onPacket);
  monitor.once('end', onClose);
  monitor.once('close', onClose);
  if (remote.signal.aborted) over.resolve('gone');
  remote.signal.addEventListener('abort', () => over.resolve('gone'), { once: true });
  const reason = await over.promise;
  monitor.off('data', onPacket);
  // conmon takes the end of any client for the end of the input: with `stdinOnce` the container's would be closed by one
  // that had no part in it.
  if (reason !== 'ended' && config.stdin && config.stdinOnce && !remote.stdin) keepOpen(id, monitor);
  else monitor.destroy();
  if (reason === 'slow') {
    context.log.warn('a client of attach did not take the output and was dropped', { id });
    const error = `the client does not take the container's output: too much of it waits`;
    await remote.exit({ error }, { discard: true });
  } else await remote.exit({ code: 0 });
}
