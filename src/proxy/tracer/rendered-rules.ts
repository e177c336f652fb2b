import type { BackendOptions, ProxyMode } from '../backends/backend.ts';
import { ProxyError } from '../errors.ts';
import type { ServicePortPlan } from '../plan/types.ts';
import { IptablesMachine } from './iptables-machine.ts';
import { renderTables } from './iptables-rendered.ts';
import { NftablesMachine } from './nftables-machine.ts';
import { renderTable } from './nftables-rendered.ts';
import type { TraceableRules } from './packet.ts';

/** The rules that a mode renders for these plans, to walk packets through them ({@link tracePacket}). No kernel needed. */
export function renderedRules(
  mode: ProxyMode,
  plans: Iterable<ServicePortPlan>,
  options: BackendOptions,
): TraceableRules {
  if (mode === 'nftables') return new NftablesMachine(renderTable(plans, options));
  if (mode === 'ipvs') throw new ProxyError('UNSUPPORTED', mode, 'cannot be traced');
  return new IptablesMachine(renderTables(plans, { ...options, recent: true, comments: true }));
}
