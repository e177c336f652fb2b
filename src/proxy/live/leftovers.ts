import type { Clock } from '../../async/index.ts';
import { NftablesBatch, NftablesSocket } from '../../host/nftables/index.ts';
import type { Logger } from '../../log/index.ts';
import { type BackendOptions, type ProxyMode, proxyModes } from '../backends/backend.ts';
import { removeMode } from '../backends/create-backend.ts';
import type { IpFamily } from '../model/types.ts';

/** The table of upstream's nftables mode, in each family. */
const upstreamTable = 'kube-proxy';

/** Options under which rules are taken away: none of them matters for that. */
function plainOptions(family: IpFamily): BackendOptions {
  return {
    family,
    pods: { kind: 'none' },
    masqueradeAll: false,
    masqueradeBit: 14,
    nodePortAddresses: [],
    localhostNodePorts: false,
  };
}

/**
 * Takes away what other modes left in the kernel, ours and upstream's; without a mode in use, what all modes left. Nobody
 * else's rules are touched. Gives the modes and families that could not be cleaned.
 */
export async function removeLeftovers(
  inUse: ProxyMode | undefined,
  {
    clock,
    log,
    optionsOf = plainOptions,
  }: { clock: Clock; log: Logger; optionsOf?: (family: IpFamily) => BackendOptions },
): Promise<{ mode: ProxyMode; family: IpFamily; error: unknown }[]> {
  const failed: { mode: ProxyMode; family: IpFamily; error: unknown }[] = [];
  for (const family of [4, 6] as const) {
    for (const mode of proxyModes) {
      if (mode === inUse) continue;
      try {
        await removeMode(mode, optionsOf(family), { clock, log }, inUse);
      } catch (error) {
        failed.push({ mode, family, error });
      }
    }
    const error = removeUpstreamTable(family);
    if (error) failed.push({ mode: 'nftables', family, error });
  }
  return failed;
}

function removeUpstreamTable(family: IpFamily): unknown {
  const table = { family: family === 4 ? 'ip' : 'ip6', name: upstreamTable } as const;
  let socket: NftablesSocket;
  try {
    socket = new NftablesSocket();
  } catch {
    return undefined;
  }
  try {
    if (socket.findTable(table)) socket.commit(new NftablesBatch().deleteTable(table), 'remove the table of upstream');
    return undefined;
  } catch (error) {
    return error;
  } finally {
    socket.close();
  }
}
