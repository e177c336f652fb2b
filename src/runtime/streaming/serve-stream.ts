import type { RuntimeContext } from '../context.ts';
import { serveAttach } from './serve-attach.ts';
import { serveExec } from './serve-exec.ts';
import { servePorts } from './serve-ports.ts';
import type { Connection, StreamRequest } from './streaming-server.ts';

/** Serves one exec, attach or port-forward connection to its end. */
export function serveStream(context: RuntimeContext, stream: StreamRequest, connection: Connection): Promise<void> {
  switch (stream.kind) {
    case 'exec':
      return serveExec(context, stream.request, connection);
    case 'attach':
      return serveAttach(context, stream.request, connection);
    case 'portforward':
      return servePorts(context, stream.request, connection);
  }
}
