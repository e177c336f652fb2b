import type { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { PortForwardRequest } from '../../api/cri/index.ts';
import type { Clock } from '../../async/index.ts';
import { connectInNamespace } from '../../host/sockets/index.ts';
import { servePortForward } from '../../wire/streams/index.ts';
import type { RecordContext } from '../context.ts';
import { messageOf, RuntimeError } from '../errors.ts';
import { streamTimeouts } from './stream-timeouts.ts';
import type { Connection } from './streaming-server.ts';

/**
 * How long a client that has heard the end of the pod's side may stay silent before the connection counts as over,
 * milliseconds. Some clients (kubectl before 1.26) say nothing until the error stream has ended.
 */
const silenceMs = 1_000;

/** Carries a client's connections to ports on the loopback addresses of a sandbox. */
export function servePorts(
  context: RecordContext,
  request: PortForwardRequest,
  { request: http, socket, head }: Connection,
): Promise<void> {
  const id = request.podSandboxId;
  return servePortForward(http, socket, head, {
    ...(request.port.length > 0 ? { ports: request.port } : {}),
    ...streamTimeouts(context),
    forward: async (port, stream, signal) => {
      const { namespaces, phase } = context.store.sandboxes.get(id);
      if (phase !== 'ready') throw new RuntimeError('UNKNOWN', `sandbox "${id}" is not running`);
      const { clock } = context;
      const pod = await connectInNamespace(namespaces.network, port, { clock, signal }).catch((cause: unknown) => {
        const text = `failed to connect to localhost:${port} inside sandbox "${id}": ${messageOf(cause)}`;
        throw new RuntimeError('UNKNOWN', text, { cause });
      });
      await carry(stream, pod, signal, clock);
    },
  });
}

/** Copies both ways, each with its own end, until both are over or one side is gone. */
async function carry(client: Duplex, pod: Duplex, signal: AbortSignal, clock: Clock): Promise<void> {
  const drop = (): void => void pod.destroy();
  pod.on('error', () => {});
  signal.addEventListener('abort', drop, { once: true });
  client.once('close', drop);
  try {
    if (signal.aborted || client.destroyed) return;
    let heardAt = clock.monotonic();
    client.on('data', () => {
      heardAt = clock.monotonic();
    });
    client.pipe(pod);
    pod.pipe(client);
    await finished(pod, { writable: false }).catch(() => {});
    heardAt = clock.monotonic();
    while (!pod.destroyed && !pod.writableFinished && clock.monotonic() - heardAt < silenceMs)
      await clock.sleep(silenceMs / 20);
  } finally {
    signal.removeEventListener('abort', drop);
    client.off('close', drop);
    drop();
  }
}
