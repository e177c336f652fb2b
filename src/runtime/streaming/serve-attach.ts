import { join } from 'node:path';
import type { AttachRequest } from '../../api/cri/index.ts';
import { connectPacketSocket } from '../../host/sockets/index.ts';
import { serveRemoteCommand } from '../../wire/streams/index.ts';
import { conmonFiles, resizeLine, sendControl } from '../containers/conmon.ts';
import type { RuntimeContext } from '../context.ts';
import { messageOf } from '../errors.ts';
import type { Connection } from './streaming-server.ts';

/** Packets from conmon begin with what they are. */
const [outputPacket, errorPacket] = [2, 3];

/** conmon takes packets up to this size. */
const largestInput = 32_768;

/** Connects the client with the first process of a container, through its monitor; ends when either side goes. */
export async function serveAttach(
  context: RuntimeContext,
  request: AttachRequest,
  { request: http, socket, head }: Connection,
): Promise<void> {
  const { stdin, stdout, stderr, tty } = request;
  const remote = await serveRemoteCommand(http, socket, head, { stdin, stdout, stderr, tty, clock: context.clock });
  if (!remote) return;
  const { id, config } = context.store.containers.get(request.containerId);
  const bundle = context.paths.bundle(id);
  try {
    const monitor = connectPacketSocket(join(bundle, conmonFiles.attach));
    remote.onResize(({ width, height }) => void sendControl(bundle, resizeLine(height, width)).catch(() => {}));
    const closed = new Promise<void>((resolve) => monitor.once('close', resolve));
    // A client that does not read holds up conmon, and in the end the container, as it does with other runtimes; the
    // alternative would be to keep what it does not take in memory.
    monitor.on('data', (packet: Buffer) => {
      const target = packet[0] === outputPacket ? remote.stdout : packet[0] === errorPacket ? remote.stderr : undefined;
      if (!target || target.write(packet.subarray(1))) return;
      monitor.pause();
      target.once('drain', () => monitor.resume());
    });
    monitor.on('error', () => monitor.destroy());
    monitor.on('end', () => monitor.destroy());
    remote.stdin?.on('data', (part: Buffer) => {
      for (let at = 0; at < part.length; at += largestInput) monitor.write(part.subarray(at, at + largestInput));
    });
    if (config.stdin) remote.stdin?.on('end', () => monitor.end());
    remote.signal.addEventListener('abort', () => monitor.destroy(), { once: true });
    await closed;
    await remote.exit({ code: 0 });
  } catch (cause) {
    await remote.exit({ error: `failed to attach to container "${id}": ${messageOf(cause)}` });
  }
}
