import type { RuntimeContext } from '../context.ts';
import type { StreamHandler } from './streaming-server.ts';

/** Serves one exec, attach or port-forward connection. */
export function serveStream(_context: RuntimeContext, ..._connection: Parameters<StreamHandler>): Promise<void> {
  return Promise.reject(new Error('not yet'));
}
