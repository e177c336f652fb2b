import type { Clock } from '../../async/index.ts';
import type { ProxyMode } from '../backends/backend.ts';
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
