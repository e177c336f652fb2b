import type { Clock } from '../async/index.ts';
import type { Logger } from '../log/index.ts';
import { type BackendOptions, proxyModes } from './backends/backend.ts';
import { createBackend } from './backends/create-backend.ts';
import { ServiceRoutes } from './node-network.ts';

/** Takes away the rules of every mode and family, whoever of ours made them: `--cleanup`. Nobody else's are touched. */
export async function removeProxyRules(context: { log: Logger; clock: Clock }): Promise<void> {
  for (const mode of proxyModes)
    for (const family of [4, 6] as const) {
      const options: BackendOptions = {
        family,
        pods: { kind: 'none' },
        masqueradeAll: false,
        masqueradeBit: 14,
        nodePortAddresses: [],
        localhostNodePorts: false,
      };
      try {
        const backend = await createBackend(mode, options, context);
        await backend.remove();
        backend.close();
      } catch (error) {
        context.log.info('nothing to remove', { mode, family, error });
      }
    }
  const routes = new ServiceRoutes();
  routes.retain(new Set());
  routes.close();
}
