import type { Clock } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import type { Backend, BackendOptions, ProxyMode } from './backend.ts';

/**
 * Takes away what a mode has written, whether this process did it or another one, except for what the mode `inUse` has in
 * common with it. @throws what the kernel refuses; a machine that cannot run the mode has nothing of it
 */
export async function removeMode(
  mode: ProxyMode,
  options: BackendOptions,
  context: { clock: Clock; log: Logger },
  inUse?: ProxyMode,
): Promise<void> {
  let backend: Backend;
  try {
    backend = await createBackend(mode, options, context);
  } catch (error) {
    context.log.debug('nothing of this mode to remove', { mode, family: options.family, error });
    return;
  }
  try {
    await backend.remove(inUse);
  } finally {
    backend.close();
  }
}

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
