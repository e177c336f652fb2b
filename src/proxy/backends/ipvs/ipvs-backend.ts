import type { Clock } from '../../../async/index.ts';
import { IpvsSocket } from '../../../host/ipvs/index.ts';
import type { Logger } from '../../../log/index.ts';
import { ProxyError } from '../../errors.ts';
import type { Backend, BackendOptions } from '../backend.ts';

/** Makes a backend. @throws ProxyError UNSUPPORTED where the kernel has no IPVS */
export async function createIpvsBackend(
  options: BackendOptions,
  context: { clock: Clock; log: Logger },
): Promise<Backend> {
  const ipvs = IpvsSocket.open();
  if (!ipvs)
    throw new ProxyError(
      'UNSUPPORTED',
      'mode ipvs',
      'the kernel has no IPVS (module ip_vs): load it, or use the mode nftables or iptables',
    );
  ipvs.close();
  context.log.debug('ipvs', { family: options.family });
  throw new ProxyError('UNSUPPORTED', 'mode ipvs', 'is being built');
}
