import { finished } from 'node:stream/promises';
import type { PortForwardRequest } from '../../api/cri/index.ts';
import { connectInNamespace } from '../../host/sockets/index.ts';
import { servePortForward } from '../../wire/streams/index.ts';
import type { RuntimeContext } from '../context.ts';
import { codeOf, messageOf, RuntimeError } from '../errors.ts';
import type { Connection } from './streaming-server.ts';

/** Carries a client's connections to ports on the loopback address of a sandbox. */
export function servePorts(
  context: RuntimeContext,
  request: PortForwardRequest,
  { request: http, socket, head }: Connection,
): Promise<void> {
  const { id } = context.store.sandboxes.get(request.podSandboxId);
  return servePortForward(http, socket, head, {
    ...(request.port.length > 0 ? { ports: request.port } : {}),
    clock: context.clock,
    forward: async (port, stream, signal) => {
      const { namespaces, phase } = context.store.sandboxes.get(id);
      if (phase !== 'ready') throw new RuntimeError('UNKNOWN', `sandbox "${id}" is not running`);
      const pod = connect(namespaces.network, port, id);
      signal.addEventListener('abort', () => pod.destroy(), { once: true });
      stream.pipe(pod);
      pod.pipe(stream);
      // The pod's side decides: when it has said everything, the connection is over.
      await finished(pod, { writable: false }).catch(() => {});
      pod.destroy();
    },
  });
}

function connect(namespace: string | undefined, port: number, id: string) {
  try {
    return connectInNamespace(namespace, port);
  } catch (cause) {
    const reason = codeOf(cause) === 'ECONNREFUSED' ? 'connection refused' : messageOf(cause);
    const text = `failed to connect to localhost:${port} inside sandbox "${id}": ${reason}`;
    throw new RuntimeError('UNKNOWN', text, { cause });
  }
}
