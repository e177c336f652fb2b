import { readFileSync } from 'node:fs';
import type { Clock } from '../../../async/index.ts';
import { findIptables, type Iptables, type IptablesVariant } from '../../../host/iptables/index.ts';
import { NftablesSocket } from '../../../host/nftables/index.ts';

/** What is done to the chain FORWARD of a host that forwards nothing by default. */
export interface Forwarding {
  bridge: string;
  families: readonly (4 | 6)[];
  clock: Clock;
}

/**
 * Lets packets of pods pass on hosts whose iptables drop what is forwarded, as Docker's engine sets them up: no rule of a
 * table of our own could make up for that. What pods send may go; to pods only answers, and what a host port or a Service
 * sends there. Most hosts have no such chain, which is seen without running a program.
 */
export async function allowForwarding({ bridge, families, clock }: Forwarding): Promise<void> {
  for (const family of families)
    for (const variant of variantsWithFilter(family)) {
      if (variant === 'nft' && forwardPolicy(family) !== 'drop') continue;
      const iptables = await findIptables(family, clock, variant).catch(() => undefined);
      const lines = (await iptables?.save('filter')) ?? [];
      if (!iptables || !lines.some((line) => /^:FORWARD DROP\b/.test(line))) continue;
      const missing = forwardRules(bridge).filter((rule) => !lines.includes(`-A ${rule}`));
      if (missing.length > 0)
        await change(
          iptables,
          missing.map((rule) => `-I ${rule}`),
        );
    }
}

/** Takes the rules away again. */
export async function forgetForwarding({ bridge, families, clock }: Forwarding): Promise<void> {
  for (const family of families)
    for (const variant of variantsWithFilter(family)) {
      const iptables = await findIptables(family, clock, variant).catch(() => undefined);
      const lines = (await iptables?.save('filter')) ?? [];
      const there = forwardRules(bridge).filter((rule) => lines.includes(`-A ${rule}`));
      if (iptables && there.length > 0)
        await change(
          iptables,
          there.map((rule) => `-D ${rule}`),
        );
    }
}

/** As iptables-save prints them. */
function forwardRules(bridge: string): string[] {
  const comment = `-m comment --comment "pods of ${bridge}" -j ACCEPT`;
  return [
    `FORWARD -i ${bridge} ${comment}`,
    `FORWARD -o ${bridge} -m conntrack --ctstate RELATED,ESTABLISHED,DNAT ${comment}`,
  ];
}

async function change(iptables: Iptables, lines: readonly string[]): Promise<void> {
  await iptables.restore(`${['*filter', ...lines, 'COMMIT'].join('\n')}\n`);
}

/** The kinds of iptables whose filter table there is; looking makes none. */
function variantsWithFilter(family: 4 | 6): IptablesVariant[] {
  return [...(forwardPolicy(family) ? ['nft' as const] : []), ...(hasLegacyFilter(family) ? ['legacy' as const] : [])];
}

function forwardPolicy(family: 4 | 6): 'accept' | 'drop' | undefined {
  let socket: NftablesSocket | undefined;
  try {
    socket = new NftablesSocket();
    const table = { family: family === 4 ? 'ip' : 'ip6', name: 'filter' } as const;
    return socket.listChains(table).find(({ name, base }) => name === 'FORWARD' && base)?.policy;
  } catch {
    // A kernel without nf_tables has no such chain.
    return undefined;
  } finally {
    socket?.close();
  }
}

function hasLegacyFilter(family: 4 | 6): boolean {
  try {
    return readFileSync(`/proc/net/${family === 4 ? 'ip' : 'ip6'}_tables_names`, 'utf8')
      .split('\n')
      .includes('filter');
  } catch {
    return false;
  }
}
