import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import type { PacketCase } from '../../src/proxy/testing/packet-case.ts';
import { bySettings, packetCases, servicesOf, spreadOf } from '../../src/proxy/testing/packet-cases.ts';
import { serviceCidrs, settings as allSettings, type SettingsName } from '../../src/proxy/testing/packet-network.ts';
import { serviceObject, sliceObjects } from '../../src/proxy/testing/service-cases.ts';
import { mistakeOf, missing, observe } from '../support/packet-judge.ts';
import { createPacketNetwork, type PacketNetwork } from '../support/packet-network.ts';
import { output } from '../support/processes.ts';
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
    for (const [settings, cases] of bySettings(chosen))
      await t.test(settings, async (t) => {
        const [tried, left] = partition(cases, (one) => missing(network, one) === undefined);
        await using proxy = await startProxy(network, mode, settings, cases, environmentOf(variant));
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
  environment: Record<string, string>,
): Promise<ProxyDriver> {
  const proxy = new ProxyDriver(network.node, { mode, ...allSettings[settings], table: true, serviceCidrs }, environment);
  for (const service of servicesOf(cases)) {
    proxy.send({ service: serviceObject(service) });
    for (const slice of sliceObjects(service)) proxy.send({ slice });
  }
  await proxy.ask({ start: true });
  return proxy;
}

/** What a mode does otherwise, with the reason: told by docs/proxy.md. */
function knownDifference(_mode: string, _one: PacketCase): string | undefined {
  return undefined;
}

function partition<T>(list: readonly T[], test: (one: T) => boolean): [T[], T[]] {
  return [list.filter(test), list.filter((one) => !test(one))];
}
