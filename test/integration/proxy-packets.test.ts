import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import type { PacketCase } from '../../src/proxy/testing/packet-case.ts';
import { bySettings, packetCases, servicesOf, spreadOf } from '../../src/proxy/testing/packet-cases.ts';
import {
  settings as allSettings,
  nodeAddresses,
  nodeZone,
  type SettingsName,
  serviceCidrs,
} from '../../src/proxy/testing/packet-network.ts';
import { serviceObject, sliceObjects } from '../../src/proxy/testing/service-cases.ts';
import { missing, mistakeOf, observe } from '../support/packet-judge.ts';
import { createPacketNetwork, type PacketNetwork } from '../support/packet-network.ts';
import { ProxyDriver } from '../support/proxy-network.ts';

/** A spread that covers every feature, as these packets take their time; all of the table with PACKET_CASES=all. */
const everything = process.env['PACKET_CASES'] === 'all';
const chosen = everything ? packetCases : spreadOf(packetCases);
const extent = everything ? 'all cases' : 'a spread of the cases, PACKET_CASES=all for all';
const variants = ['nftables', 'iptables (nft)', 'iptables (legacy)'] as const;
const only = process.env['PACKET_MODES']?.split(',');

for (const variant of variants) {
  const mode = variant.split(' ')[0]!;
  const skip = only && !only.includes(variant) ? 'PACKET_MODES' : missingTool(variant);
  test(`packets go where they must: ${variant}, ${extent}`, { timeout: 600_000, skip }, async (t) => {
    await using network = await createPacketNetwork();
    if (variant === 'iptables (legacy)') await chooseLegacy(network);
    for (const [settings, cases] of bySettings(chosen))
      await t.test(settings, async (t) => {
        const [tried, left] = partition(cases, (one) => missing(network, one) === undefined);
        await using proxy = await startProxy(network, mode, settings, cases);
        const seen = await observe(network, tried);
        for (const [index, one] of tried.entries()) {
          const mistake = mistakeOf(one, seen[index]!);
          const reason = knownDifference(mode, one);
          if (mistake !== undefined)
            await t.test(one.name, { todo: reason ?? false }, () =>
              assert.fail(`must be ${JSON.stringify(one.outcome)}, was: ${mistake}`),
            );
        }
        t.diagnostic(`${tried.length} cases tried`);
        for (const [reason, group] of Map.groupBy(left, (one) => missing(network, one)!))
          await t.test(`${group.length} cases`, { skip: reason }, () => {});
        await proxy.ask({ stop: true, remove: true });
      });
  });
}

async function startProxy(
  network: PacketNetwork,
  mode: string,
  settings: SettingsName,
  cases: readonly PacketCase[],
): Promise<ProxyDriver> {
  const addresses = [nodeAddresses[4], nodeAddresses[6]];
  const node = { zone: nodeZone, addresses, podCidrs: [], eligible: true };
  const proxy = new ProxyDriver(network.node, { mode, ...allSettings[settings], facts: { node, serviceCidrs } });
  for (const service of servicesOf(cases)) {
    proxy.send({ service: serviceObject(service) });
    for (const slice of sliceObjects(service)) proxy.send({ slice });
  }
  await proxy.ask({ start: true });
  return proxy;
}

/** What a mode does otherwise, with the reason. */
function knownDifference(mode: string, { to, settings }: PacketCase): string | undefined {
  if (mode === 'iptables' && to.address === 'cluster-ip' && to.port !== 'service')
    return 'iptables: no rule yet for ports of cluster IPs that no Service has, the packet follows the routes';
  if (mode === 'nftables' && to.address === 'loopback' && settings === 'pods by bridge')
    return 'nftables: node ports on 127.0.0.1 give no answer yet';
  return undefined;
}

function missingTool(variant: string): string | false {
  const program = { 'iptables (nft)': 'iptables-nft-restore', 'iptables (legacy)': 'iptables-legacy-restore' }[variant];
  return program !== undefined && !existsSync(`/usr/sbin/${program}`) && `not installed: ${program}`;
}

/** Leaves the mark by which the proxy sees that the host uses the old tables. */
async function chooseLegacy({ node, ipv6 }: PacketNetwork): Promise<void> {
  for (const program of ['iptables-legacy', ...(ipv6 ? ['ip6tables-legacy'] : [])])
    await node.output([program, '-t', 'mangle', '-N', 'KUBE-KUBELET-CANARY']);
}

function partition<T>(list: readonly T[], test: (one: T) => boolean): [T[], T[]] {
  return [list.filter(test), list.filter((one) => !test(one))];
}
