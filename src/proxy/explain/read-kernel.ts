import type { Clock } from '../../async/index.ts';
import { type ProxyMode, proxyModes } from '../backends/backend.ts';
import type { IpFamily } from '../model/types.ts';
import type { KernelView } from './kernel-view.ts';

/** Reads what a mode has in the kernel; undefined when there is nothing of it. @throws when it cannot be read */
export async function readKernel(
  mode: ProxyMode,
  family: IpFamily,
  context: { clock: Clock },
): Promise<KernelView | undefined> {
  if (mode === 'nftables') return (await import('./kernel-nftables.ts')).readNftables(family);
  if (mode === 'iptables') return (await import('./kernel-iptables.ts')).readIptables(family, context);
  return undefined;
}

/** The mode whose rules are in the kernel; undefined when there are none. */
export async function findRenderedMode(context: { clock: Clock }): Promise<ProxyMode | undefined> {
  for (const mode of proxyModes)
    for (const family of [4, 6] as const) {
      const found = await readKernel(mode, family, context).catch(() => undefined);
      found?.close();
      if (found) return mode;
    }
  return undefined;
}
