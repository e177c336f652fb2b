import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ensureUtilityChains } from './utility-chains.ts';

/** Keeps what is restored, as iptables-save would print it. */
function keeping() {
  const tables: Record<string, string[]> = { mangle: [], filter: [':INPUT ACCEPT [0:0]', ':OUTPUT ACCEPT [0:0]'] };
  let writes = 0;
  return {
    writes: () => writes,
    tables,
    save: async (table: string) => tables[table]!,
    restore: async (text: string) => {
      writes++;
      const [head = '', ...lines] = text.trim().split('\n');
      for (const line of lines.slice(0, -1)) tables[head.slice(1)]!.push(line.replace(/^-I (\w+)/, '-A $1'));
    },
  };
}

test('the hint, the canary and the guard of loopback are made once', async () => {
  const iptables = keeping();
  await ensureUtilityChains(iptables, 4);
  assert.ok(iptables.tables['mangle']!.some((line) => line.startsWith(':KUBE-IPTABLES-HINT ')));
  assert.ok(iptables.tables['filter']!.includes('-A INPUT -j KUBE-FIREWALL'));
  assert.ok(iptables.tables['filter']!.some((line) => /^-A KUBE-FIREWALL .*-d 127\.0\.0\.0\/8 .*-j DROP$/.test(line)));
  assert.equal(iptables.writes(), 2);
  await ensureUtilityChains(iptables, 4);
  assert.equal(iptables.writes(), 2);
});

test('loopback of IPv6 needs no guard', async () => {
  const iptables = keeping();
  await ensureUtilityChains(iptables, 6);
  assert.equal(iptables.writes(), 1);
});
