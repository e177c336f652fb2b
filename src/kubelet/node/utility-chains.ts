import type { Clock } from '../../async/index.ts';
import { findIptables, type Iptables } from '../../host/iptables/index.ts';
import type { Logger } from '../../log/index.ts';

/** How often it is looked whether somebody has taken the chains away, milliseconds. */
const lookMs = 60_000;
const firewall = 'KUBE-FIREWALL';
const canary = 'KUBE-KUBELET-CANARY';

/**
 * The chains of iptables that a kubelet keeps (makeIPTablesUtilChains): a hint for others which variant of iptables this
 * machine uses, and a rule that nobody outside reaches what listens on loopback (CVE-2020-8558). Works until the signal aborts.
 */
export async function keepUtilityChains(
  families: readonly (4 | 6)[],
  context: { clock: Clock; log: Logger; signal: AbortSignal },
): Promise<void> {
  const { clock, log, signal } = context;
  let told = false;
  while (!signal.aborted) {
    try {
      for (const family of families) await ensureUtilityChains(await findIptables(family, clock), family);
    } catch (error) {
      if (!told) log.info('chains of iptables are not made', { error });
      told = true;
    }
    await clock.sleep(lookMs, signal).catch(() => {});
  }
}

/** Makes the chains unless they are there. */
export async function ensureUtilityChains(iptables: Pick<Iptables, 'save' | 'restore'>, family: 4 | 6): Promise<void> {
  const mangle = await iptables.save('mangle');
  if (!mangle.some((line) => line.startsWith(`:${canary} `)))
    await iptables.restore(`*mangle\n:KUBE-IPTABLES-HINT - [0:0]\n:${canary} - [0:0]\nCOMMIT\n`);
  if (family === 6) return;
  const filter = await iptables.save('filter');
  const missing = ['INPUT', 'OUTPUT'].filter((chain) => !filter.includes(`-A ${chain} -j ${firewall}`));
  if (missing.length === 0) return;
  const rule = `-A ${firewall} ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP`;
  const jumps = missing.map((chain) => `-I ${chain} -j ${firewall}\n`).join('');
  await iptables.restore(`*filter\n:${firewall} - [0:0]\n${rule}\n${jumps}COMMIT\n`);
}
