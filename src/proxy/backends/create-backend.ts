import type { Clock } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import type { Backend, BackendOptions } from './backend.ts';

/** Makes the backend of a mode; only its code is loaded. @throws when the machine cannot run it */
export async function createBackend(
  mode: Backend['mode'],
  options: BackendOptions,
  context: { clock: Clock; log: Logger },
): Promise<Backend> {
  if (mode === 'nftables') {
    const { NftablesBackend } = await import('./nftables/nftables-backend.ts');
    return new NftablesBackend({ ...options, yield: () => new Promise((resolve) => setImmediate(resolve)) });
  }
  if (mode === 'ipvs') {
    const { createIpvsBackend } = await import('./ipvs/ipvs-backend.ts');
    return createIpvsBackend(options, context);
  }
  const { createIptablesBackend } = await import('./iptables/iptables-backend.ts');
  return createIptablesBackend(options, context);
}
