import { isNetlinkError } from '../../../host/netlink/index.ts';
import { NftablesBatch, type NftablesSocket, type SetElement, type TableName } from '../../../host/nftables/index.ts';
import type { ServicePortPlan } from '../../plan/types.ts';
import { destinationBytes, type FamilyFacts, frontendBytes } from './keys.ts';
import { sets } from './layout.ts';

/** Frontends with affinity, each with the destinations that clients may stay with. Node ports have no address. */
export type AffineFrontends = Map<string, Set<string>>;

/** What clients of these plans may stay with. Pure. */
export function affineFrontends(plans: Iterable<ServicePortPlan>, facts: FamilyFacts): AffineFrontends {
  const all: AffineFrontends = new Map();
  for (const plan of plans) {
    if (plan.affinitySeconds === 0) continue;
    for (const { address, protocol, port, policy, kind } of plan.frontends) {
      const internalLocal = kind === 'cluster-ip' && policy === 'local';
      const list = internalLocal ? plan.local : policy === 'local' ? [...plan.cluster, ...plan.local] : plan.cluster;
      const bytes = list.map((one) => destinationBytes(facts, one.address, one.port).toString('latin1'));
      all.set(frontendBytes(facts, address, protocol, port).toString('latin1'), new Set(bytes));
    }
  }
  return all;
}

/**
 * Makes clients forget endpoints that are gone: only elements of the given frontends are looked at (`whole`: every
 * element, for when it is not known what changed). Elements may expire at any moment; one that is gone does no harm.
 * Gives how many were deleted.
 */
export function forgetStaleClients(
  socket: NftablesSocket,
  table: TableName,
  frontends: AffineFrontends,
  facts: FamilyFacts,
  whole: boolean,
): number {
  const stale: SetElement[] = [];
  for (const element of socket.listElements(table, sets.affinity)) {
    const frontend = element.key.subarray(facts.addressBytes);
    const allowed =
      frontends.get(frontend.toString('latin1')) ??
      frontends.get(frontend.subarray(facts.addressBytes).toString('latin1'));
    if (allowed ? !allowed.has(element.value?.toString('latin1') ?? '') : whole)
      stale.push({ key: element.key, value: element.value });
  }
  if (stale.length === 0) return 0;
  try {
    socket.commit(new NftablesBatch().destroyElements(table, sets.affinity, stale), 'forget clients');
  } catch (error) {
    if (!isNetlinkError(error)) throw error;
    // A kernel that cannot pass over missing elements: one by one.
    for (const element of stale) forgetOne(socket, table, element);
  }
  return stale.length;
}

function forgetOne(socket: NftablesSocket, table: TableName, element: SetElement): void {
  try {
    socket.commit(new NftablesBatch().deleteElements(table, sets.affinity, [element]), 'forget a client');
  } catch (error) {
    if (!isNetlinkError(error, 'ENOENT')) throw error;
  }
}
