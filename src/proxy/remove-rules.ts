import type { Clock } from '../async/index.ts';
import type { Logger } from '../log/index.ts';
import { ProxyError } from './errors.ts';
import { removeLeftovers } from './live/leftovers.ts';
import { ServiceRoutes } from './node-network.ts';

/**
 * Takes away the rules of every mode and family, ours and upstream's: `--cleanup`. Nobody else's are touched.
 * @throws ProxyError KERNEL_REFUSED naming what is still there; the rest is gone
 */
export async function removeProxyRules(context: { log: Logger; clock: Clock }): Promise<void> {
  const failed = await removeLeftovers(undefined, context);
  const routes = new ServiceRoutes();
  routes.retain(new Set());
  routes.close();
  if (failed.length === 0) return;
  const list = failed.map(({ mode, family, error }) => `${mode} IPv${family}: ${(error as Error).message}`);
  throw new ProxyError('KERNEL_REFUSED', 'cleanup', list.join('; '));
}
